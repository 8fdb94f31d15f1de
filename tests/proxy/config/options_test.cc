#include "proxy/config/options.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <variant>

#include "proxy/config/nearest.h"

namespace sluice {
namespace {

/// Compares the member that an option sets.
struct SameMember {
  const Config& a;
  const Config& b;
  const RouteConfig& a_route;
  const RouteConfig& b_route;

  bool operator()(std::monostate) const { return true; }
  bool operator()(CpuAffinity Config::*field) const {
    return (a.*field).mode == (b.*field).mode && (a.*field).cpus == (b.*field).cpus;
  }
  template <class Member>
  bool operator()(Member Config::*field) const {
    return a.*field == b.*field;
  }
  template <class Member>
  bool operator()(Member RouteConfig::*field) const {
    return a_route.*field == b_route.*field;
  }
};

TEST(Options, HaveNamesOfTheirOwnAndASentenceEach) {
  std::set<std::string_view> names;
  for (const Option& option : options()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    EXPECT_TRUE(option.help.ends_with('.')) << option.name;
    EXPECT_LE(option.lowest, option.highest) << option.name;
    EXPECT_NE(option.places, 0u) << option.name;
    EXPECT_EQ(option.kind == OptionKind::flag, option.value.empty()) << option.name;
    EXPECT_EQ(option.kind == OptionKind::choice, !option.choices.empty()) << option.name;
    EXPECT_EQ(find_option(option.name), &option);
  }
  EXPECT_EQ(find_option("no-such"), nullptr);
}

TEST(Options, TellTheDefaultThatTheConfigurationHas) {
  for (const Option& option : options()) {
    // These defaults are described in words: their values are known only at the start.
    if (option.default_text.empty() || option.name == "workers" || option.name == "log-file" ||
        option.name == "capture" || option.name == "mirror" || option.name == "retries" ||
        option.name == "proxy-trust" || option.name == "allow" || option.name == "deny" ||
        option.name == "source") {
      continue;
    }
    Config config;
    RouteConfig route;
    const Result<> done = set_option(option, option.default_text, config, route);
    ASSERT_TRUE(done.has_value()) << option.name << ": " << done.error().to_string();
    const Config fresh;
    const RouteConfig fresh_route{};
    EXPECT_TRUE(std::visit(SameMember{config, fresh, route, fresh_route}, option.field))
        << option.name;
  }
}

TEST(Options, AreTakenAtTheirBoundsAndNotBeyond) {
  for (const Option& option : options()) {
    const bool count = option.kind == OptionKind::count;
    const bool bandwidth = option.kind == OptionKind::bandwidth;
    const bool size = option.kind == OptionKind::size;
    if (!count && !bandwidth && !size && option.kind != OptionKind::duration) continue;
    const std::string_view unit = count ? "" : bandwidth ? "B/s" : size ? "B" : "ns";
    Config config;
    RouteConfig route;
    const auto taken = [&](std::uint64_t number) {
      const std::string text = std::to_string(number) + std::string(unit);
      return set_option(option, text, config, route).has_value();
    };
    EXPECT_TRUE(taken(option.lowest)) << option.name;
    EXPECT_TRUE(taken(option.highest)) << option.name;
    const bool only_zero_below = option.lowest == 1 && !option.zero.empty();
    EXPECT_EQ(taken(option.lowest - 1), only_zero_below) << option.name;
    EXPECT_FALSE(taken(option.highest + 1)) << option.name;
    EXPECT_EQ(taken(0), !option.zero.empty()) << option.name;
  }
}

TEST(Options, AShareIsADecimalFraction) {
  const Option& option = *find_option("mirror-sample");
  const auto taken = [&](std::string_view text) -> std::uint64_t {
    Config config;
    RouteConfig route;
    return set_option(option, text, config, route).has_value() ? route.mirror_sample : 0;
  };
  EXPECT_EQ(taken("0.1"), 100'000U);
  EXPECT_EQ(taken(".25"), 250'000U);
  EXPECT_EQ(taken("1"), 1'000'000U);
  EXPECT_EQ(taken("1."), 1'000'000U);
  EXPECT_EQ(taken("0.000001"), 1U);
  for (const char* wrong : {"", ".", "0", "0.0", "0.0000001", "1.000001", "2", "-0.1", "+0.1",
                            "1e-3", "0,1", "0.1 ", "10%", "0.-1", "18446744073709551617"}) {
    EXPECT_EQ(taken(wrong), 0U) << wrong;
  }
  EXPECT_EQ(allowed_values(option), "0.000001 to 1");
}

TEST(Options, AreFarEnoughApartToBeSuggested) {
  for (const std::string_view name : option_names(kOnCommandLine | kInDefaults | kInRoute)) {
    EXPECT_EQ(nearest_name(name, option_names(kOnCommandLine | kInDefaults | kInRoute)), name);
  }
}

TEST(Joined, MakesASentence) {
  const std::vector<std::string_view> names{"a", "b", "c"};
  EXPECT_EQ(joined(names), "a, b or c");
  EXPECT_EQ(joined(std::span(names).first(2)), "a or b");
  EXPECT_EQ(joined(std::span(names).first(1)), "a");
  EXPECT_EQ(joined(std::span(names).first(0)), "");
}

}  // namespace
}  // namespace sluice
