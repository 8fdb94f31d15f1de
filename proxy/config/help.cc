#include "proxy/config/help.h"

#include <algorithm>
#include <string_view>

#include "proxy/config/options.h"

namespace sluice {
namespace {

constexpr std::size_t kHelpColumns = 80;
constexpr std::size_t kHelpIndent = 8;

/// Wraps `text` into indented lines of at most kHelpColumns.
std::string wrapped(std::string_view text) {
  std::string result;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (column == 0 || column + 1 + word.size() > kHelpColumns) {
      if (column != 0) result += '\n';
      result.append(kHelpIndent, ' ');
      column = kHelpIndent;
    } else {
      result += ' ';
      ++column;
    }
    result += word;
    column += word.size();
  }
  return result + '\n';
}

std::string option_help(const Option& option) {
  std::string result = "  --" + std::string(option.name);
  if (option.name == "help") result = "  -h, --help";
  if (!option.value.empty()) result += " " + std::string(option.value);
  std::string text(option.help);
  if (!option.default_text.empty()) {
    const std::string allowed = allowed_values(option);
    text += " Default: " + std::string(option.default_text) + ".";
    if (!allowed.empty()) text += " Allowed: " + allowed + ".";
  }
  return result + "\n" + wrapped(text);
}

std::string help_group(std::string_view title, unsigned places, bool with_default) {
  std::string result = "\n" + std::string(title) + "\n";
  for (const Option& option : options()) {
    const bool has_default = !option.default_text.empty();
    const bool on_command_line = (option.places & kOnCommandLine) != 0;
    const unsigned others = option.places & ~unsigned{kOnCommandLine};
    if (!on_command_line || has_default != with_default) continue;
    if (with_default && others != places) continue;
    result += option_help(option);
  }
  return result;
}

}  // namespace

std::string usage_line() {
  return "usage: sluice --listen ADDR --to ADDR [options] | sluice --config FILE [--check]";
}

std::string help_text() {
  return "usage: sluice --listen ADDR --to ADDR [options]   one route\n"
         "       sluice --config FILE [--check] [options]   many routes, from a TOML file\n"
         "\nForwards TCP and unix connections without copying their bytes.\n" +
         help_group("What to do:", 0, false) +
         help_group("Options of a route (TOML: in [[route]], or in [defaults] for all):",
                    kInDefaults | kInRoute, true) +
         help_group("Options of the process (TOML: in [defaults]):", kInDefaults, true) +
         "\nA DURATION is a number with a unit (ns, us, ms, s, m, h, d), as in 200ms or\n"
         "1m30s; a SIZE a whole number with one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB.\n"
         "Without a unit both are refused, except 0. The command line beats a route, and\n"
         "a route beats [defaults].\n"
         "\nExit status: 0 done, 1 configuration or start failed, or a capture is\n"
         "incomplete at the end, 2 wrong usage.\n";
}

}  // namespace sluice
