#include "proxy/config/option_text.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {
namespace {

using Texts = std::vector<std::string>;

// A value of each option that is set through its field, unlike its default.
const std::map<std::string_view, Texts> kValues = {
    {"zero-copy", {"never"}},
    {"congestion", {"system"}},
    {"balance", {"source-hash"}},
    {"retries", {"7"}},
    {"hedge-after", {"1s500ms"}},
    {"eject-after", {"0"}},
    {"health", {"exchange"}},
    {"health-send", {"hex:0d0a"}},
    {"health-expect", {"+PONG"}},
    {"on-down", {"reset"}},
    {"allow", {"10.0.0.0/8", "unix:"}},
    {"deny", {"file:/etc/deny", "::1"}},
    {"source-connections", {"7"}},
    {"source-rate", {"7/m"}},
    {"server-connections", {"7"}},
    {"route-connections", {"7"}},
    {"queue", {"7"}},
    {"queue-timeout", {"1s500ms"}},
    {"connection-bandwidth", {"1500B/s"}},
    {"route-bandwidth", {"10MiB/s"}},
    {"proxy-in", {"trusted"}},
    {"proxy-trust", {"10.0.0.0/8", "unix:"}},
    {"proxy-out", {"v2"}},
    {"proxy-tlvs", {"crc32c", "authority"}},
    {"source", {"2001:db8::7"}},
    {"keepalive", {"1m"}},
    {"user-timeout", {"20s"}},
    {"capture", {"/var/c"}},
    {"durability", {"before-forward"}},
    {"capture-full", {"drop"}},
    {"capture-exact", {"true"}},
    {"capture-io", {"buffered"}},
    {"capture-direction", {"upstream"}},
    {"capture-limit", {"1500B"}},
    {"mirror", {"127.0.0.1:1", "unix:/m"}},
    {"mirror-on-lag", {"shed"}},
    {"mirror-sample", {"0.25"}},
    {"workers", {"3"}},
    {"engine", {"epoll"}},
    {"cpu-affinity", {"0,2,3"}},
    {"log-level", {"debug"}},
    {"log-format", {"json"}},
    {"log-file", {"/var/log/x"}},
    {"admin", {"unix:/a", "127.0.0.1:9090"}},
    {"admin-host", {"a.example"}},
    {"admin-token-file", {"/t"}},
    {"takeover-drain", {"1m30s"}},
    {"takeover-socket", {"/run/t"}},
};

TEST(OptionText, IsWhatSetsTheOption) {
  for (const auto& [name, texts] : kValues) {
    const Option* const option = find_option(name);
    ASSERT_NE(option, nullptr) << name;
    Config config;
    RouteConfig route;
    EXPECT_NE(option_texts(*option, config, route), texts) << name;
    for (const std::string& text : texts) {
      const Result<> set = set_option(*option, text, config, route);
      ASSERT_TRUE(set.has_value()) << name << ": " << set.error().to_string();
    }
    EXPECT_EQ(option_texts(*option, config, route), texts) << name;
  }
}

/// Every default is set again by its own text, and is what the help says.
TEST(OptionText, OfADefaultIsWhatTheHelpSays) {
  for (const Option& option : options()) {
    Config config;
    RouteConfig route;
    const Texts texts = option_texts(option, config, route);
    for (const std::string& text : texts) {
      EXPECT_TRUE(set_option(option, text, config, route).has_value()) << option.name << text;
    }
    EXPECT_EQ(option_texts(option, config, route), texts) << option.name;
    const bool has_one = option.highest > 0 || option.kind == OptionKind::choice;
    if (!has_one || option.repeated || texts.empty()) continue;
    const bool zero = option.default_text == "0";
    EXPECT_EQ(zero ? texts[0].substr(0, 1) : texts[0], option.default_text) << option.name;
  }
}

TEST(OptionText, BytesAreHexWhereTheyAreNotPlain) {
  EXPECT_EQ(format_bytes("PING"), "PING");
  EXPECT_EQ(format_bytes(""), "");
  EXPECT_EQ(format_bytes("a\xff\n"), "hex:61ff0a");
  EXPECT_EQ(format_bytes("hex:"), "hex:6865783a");
}

TEST(OptionText, ConditionsOfAMatchParseBack) {
  const std::map<std::string_view, Texts> values = {{"sni", {"a.example", "*.b.example"}},
                                                    {"alpn", {"h2", "hex:00"}},
                                                    {"protocol", {"http", "tls", "ssh"}},
                                                    {"prefix", {"GET ", "hex:16"}},
                                                    {"source", {"10.0.0.0/8", "unix:"}}};
  ASSERT_EQ(values.size(), kConditions.size());
  for (const auto& [condition, texts] : values) {
    RouteMatch match;
    for (const std::string& text : texts) {
      ASSERT_TRUE(add_condition(match, condition, text).has_value()) << text;
    }
    EXPECT_EQ(condition_texts(match, condition), texts);
  }
}

}  // namespace
}  // namespace sluice
