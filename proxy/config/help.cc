#include "proxy/config/help.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "iolib/base/help_row.h"

namespace sluice {
namespace {

// In the order of the enumerators of Topic.
constexpr std::array<std::string_view, 12> kTitles{
    "all of these",
    "where to listen, and where to forward to",
    "servers: which one a connection gets, and what it is told",
    "clients: who they are",
    "when to give up on a connection",
    "record what is forwarded",
    "send a copy to other servers",
    "what is logged, and where to",
    "see what it does while it runs, over HTTP",
    "threads, CPUs, and the limit on connections",
    "how bytes are moved",
    "help, version, and checking a configuration",
};

constexpr std::string_view kUsage =
    "Usage: sluice --listen ADDR --to ADDR [options]   one route\n"
    "       sluice --config FILE [--check] [options]   many routes, from a TOML file\n"
    "\nForwards TCP and unix connections without copying their bytes.\n";

constexpr std::string_view kExamples =
    "\nExamples:\n"
    "  sluice --listen :8080 --to 10.0.0.2:80\n"
    "  sluice --listen :5432 --to db:5432 --capture /srv/capture --retain-size 1TiB\n"
    "  sluice --listen :5432 --to db:5432 --mirror new-db:5432\n";

constexpr std::string_view kUnits =
    "\nA DURATION is a number with a unit (ns, us, ms, s, m, h, d), as in 200ms or\n"
    "1m30s. A SIZE is a whole number with one of B, KiB, MiB, GiB, TiB, kB, MB, GB,\n"
    "TB. A number without a unit is refused, except 0.\n";

constexpr std::string_view kFile =
    "\nIn a TOML file, an option is a key of [[route]], or of [defaults] for all\n"
    "routes. One that is marked (process) is a key of [defaults] only, and one that\n"
    "is marked (route) of [[route]] only. An option of the command line overrides the\n"
    "key of a route, and that overrides the key of [defaults].\n";

constexpr std::string_view kStatus =
    "\nExit status: 0 done; 1 the configuration or the start failed, or a capture is\n"
    "incomplete at the end; 2 wrong usage.\n";

std::string signature(const Option& option) {
  if (option.name == "help") return "-h, --help [TOPIC]";
  return "--" + std::string(option.name) + (option.value.empty() ? "" : " ") +
         std::string(option.value);
}

std::string option_help(const Option& option) {
  constexpr std::size_t kColumn = 8;
  std::string text(option.help);
  if (!option.default_text.empty()) text += " Default: " + std::string(option.default_text) + ".";
  if (const std::string allowed = allowed_values(option); !allowed.empty()) {
    text += " Allowed: " + allowed + ".";
  }
  const unsigned in_file = option.places & (kInDefaults | kInRoute);
  const char* mark = in_file == kInDefaults ? " (process)" : in_file == kInRoute ? " (route)" : "";
  return help_row(signature(option) + mark, text, kColumn);
}

/// One topic, or all of them, with what explains the marks and units in it.
class TopicHelp {
 public:
  void add(Topic topic) {
    const auto index = static_cast<std::size_t>(topic);
    text_ += std::string(text_.empty() ? "" : "\n") +
             std::string(find_option("help")->choices[index]) + ": " +
             std::string(kTitles.at(index)) + "\n";
    for (const Option& option : options()) {
      if (option.topic != topic || (option.places & kOnCommandLine) == 0) continue;
      text_ += option_help(option);
      has_keys_ |= option.places != kOnCommandLine;
      has_units_ |= option.kind == OptionKind::duration || option.kind == OptionKind::size;
    }
  }
  [[nodiscard]] std::string text() const {
    return text_ + std::string(has_keys_ ? kFile : "") + std::string(has_units_ ? kUnits : "");
  }

 private:
  std::string text_;
  bool has_keys_ = false;
  bool has_units_ = false;
};

}  // namespace

std::string usage_line() {
  return "usage: sluice --listen ADDR --to ADDR [options] | sluice --config FILE [--check] | "
         "sluice --help";
}

std::string short_help() {
  std::string text = std::string(kUsage) + "\nCommon options:\n";
  for (const Option& option : options()) {
    if (option.common) text += help_row(signature(option), first_sentence(option.help));
  }
  text += std::string(kExamples) + "\nTopics, for sluice --help TOPIC:\n";
  const std::span<const std::string_view> topics = find_option("help")->choices;
  for (std::size_t i = 0; i < topics.size(); ++i) text += help_row(topics[i], kTitles.at(i), 13);
  return text + "\nsluice(1) is the manual.\n";
}

std::string topic_help(Topic topic) {
  TopicHelp help;
  if (topic != Topic::all) {
    help.add(topic);
    return help.text();
  }
  for (std::size_t i = 1; i < kTitles.size(); ++i) help.add(static_cast<Topic>(i));
  return std::string(kUsage) + "\n" + help.text() + std::string(kStatus);
}

}  // namespace sluice
