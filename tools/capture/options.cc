#include "tools/capture/options.h"

#include <optional>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "tools/common/command_line.h"
#include "tools/common/filter_options.h"

namespace sluice::capture {
namespace {

// As they are written, before they are understood.
struct Words {
  std::string side, until_idle;
  std::optional<std::string> text, hex, regex;
  FilterWords filter;
};

std::string bytes_of_hex(const std::string& text) {
  std::string bytes;
  int high = -1;
  for (const char c : text) {
    if (c == ' ') continue;
    const std::size_t digit = std::string_view("0123456789abcdef")
                                  .find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
    if (digit == std::string_view::npos) {
      throw Wrong{"--hex: " + in_quotes(text) + ": expected pairs of hexadecimal digits"};
    }
    if (high < 0) {
      high = static_cast<int>(digit);
    } else {
      bytes += static_cast<char>(high << 4 | static_cast<int>(digit));
      high = -1;
    }
  }
  if (high >= 0) throw Wrong{"--hex: " + in_quotes(text) + ": an odd number of digits"};
  return bytes;
}

Pattern pattern_of(const Words& words) {
  Pattern pattern;
  if (int{words.text.has_value()} + int{words.hex.has_value()} + int{words.regex.has_value()} !=
      1) {
    throw Wrong{"search: expected one of --text, --hex and --regex"};
  }
  pattern.regex = words.regex.value_or("");
  pattern.bytes = words.hex ? bytes_of_hex(*words.hex) : words.text.value_or("");
  if (pattern.bytes.empty() && pattern.regex.empty()) throw Wrong{"search: an empty pattern"};
  if (pattern.bytes.size() > kMostPatternBytes || pattern.regex.size() > kMostPatternBytes) {
    throw Wrong{"search: a pattern has at most " + std::to_string(kMostPatternBytes) + " bytes"};
  }
  return pattern;
}

void understand(const Words& words, Invocation& invocation) {
  understand_filter(words.filter, invocation.filter);
  if (words.side == kSideNames[0]) invocation.side = Side::client;
  if (words.side == kSideNames[1]) invocation.side = Side::upstream;
  if (!words.until_idle.empty()) {
    invocation.until_idle = value_of("--until-idle", parse_duration(words.until_idle));
  }
  const bool exports = invocation.command == Invocation::Command::exports;
  if (exports && invocation.pcapng.empty() == invocation.jsonl.empty()) {
    throw Wrong{"export: expected one of --pcapng and --jsonl"};
  }
  if (invocation.command == Invocation::Command::search) invocation.pattern = pattern_of(words);
}

CLI::Option* add_side(CLI::App* command, Words& words) {
  return command->add_option("--side", words.side, "whose bytes: client or upstream")
      ->check(CLI::IsMember({"client", "upstream"}))
      ->type_name("SIDE");
}

constexpr const char* kFooter = R"(
TIME is 2026-11-24T09:30:00Z (or with +02:00 for Z), 2026-11-24, or @SECONDS since 1970.

Exit status: 0 done; 1 something cannot be read or written, or is no capture; 2 wrong usage; cat,
export, extract, ls, search, show, stat: 4 bytes are missing without a record (cat: missing), 5
damage; verify: 0 clean, 3 a torn tail only, 4 gaps, 5 damage.
)";

using Command = Invocation::Command;

void add_commands(CLI::App& app, Words& words, Invocation& invocation) {
  const auto add = [&](const char* name, Command command, const char* what) {
    CLI::App* sub = app.add_subcommand(name, what);
    sub->add_option("PATH", invocation.paths, "directories of captures, or segments of them")
        ->required()
        ->type_name("DIR|FILE");
    if (command != Command::exports) sub->add_flag("--json", invocation.json, "for programs");
    sub->callback([&invocation, command] { invocation.command = command; });
    return sub;
  };
  add("ls", Command::ls, "The connections.");
  add("stat", Command::stat, "What there is, in numbers.");
  CLI::App* cat = add("cat", Command::cat, "The bytes of one side of a connection, to stdout.");
  add_connection_filter(*cat, invocation.filter)->required();
  add_side(cat, words)->required();
  cat->add_flag("--skip-gaps", invocation.skip_gaps, "go on behind missing bytes");
  CLI::App* show = add("show", Command::show, "The records, readable, with their times.");
  CLI::App* follow =
      add("follow", Command::follow, "The same while it is being written, until SIGINT.");
  for (CLI::App* command : {show, follow}) {
    add_side(command, words);
    add_filter(*command, words.filter, invocation.filter);
    command->add_flag("--hex", invocation.hex, "bytes as hexadecimal numbers");
  }
  follow->add_option("--until-idle", words.until_idle, "end once nothing has come for so long")
      ->type_name("TIME");
  CLI::App* extract =
      add("extract", Command::extract, "A file for each side of each connection, and index.json.");
  extract->add_option("--out", invocation.out, "a new or empty directory")
      ->type_name("DIR")
      ->required();
  CLI::App* exports = add("export", Command::exports,
                          "For other programs: as frames for Wireshark, or as lines of JSON.");
  exports->add_option("--pcapng", invocation.pcapng, "a new file, or - for stdout: frames")
      ->type_name("FILE");
  exports->add_option("--jsonl", invocation.jsonl, "the same: an object for each record")
      ->type_name("FILE");
  add_side(exports, words);
  add_filter(*exports, words.filter, invocation.filter);
  CLI::App* search = add("search", Command::search, "Where the bytes of a stream match.");
  add_side(search, words);
  add_filter(*search, words.filter, invocation.filter);
  search->add_option("--text", words.text, "these bytes")->type_name("TEXT");
  search->add_option("--hex", words.hex, "these bytes, as hexadecimal numbers")->type_name("HEX");
  search
      ->add_option("--regex", words.regex,
                   "an extended regular expression; matches of up to 4096 bytes")
      ->type_name("REGEX");
  add("verify", Command::verify, "Whether all that was recorded is there; see the exit status.");
  CLI::App* recover =
      add("recover", Command::recover, "Writes all that is good into a new, clean capture.");
  recover->add_option("--out", invocation.out, "a new or empty directory")
      ->type_name("DIR")
      ->required();
}

}  // namespace

Invocation parse_command_line(int argc, char** argv) {
  Invocation invocation;
  Words words;
  CLI::App app("Reads what sluice --capture has recorded, or is recording.", "sluice-capture");
  app.set_version_flag("--version", "sluice-capture " SLUICE_VERSION);
  app.footer(kFooter);
  app.require_subcommand(0, 1);
  add_commands(app, words, invocation);
  // What is no command is left over, and told below; not so behind a command.
  app.allow_extras();
  const auto exit = parse_with(app, argc, argv, [&] {
    const std::vector<std::string> unknown = app.remaining();
    if (!unknown.empty()) throw Wrong{in_quotes(unknown.front()) + ": no such command or option"};
    if (invocation.command == Command::exit) throw Wrong{"a command is missing: see --help"};
    understand(words, invocation);
  });
  if (exit) {
    invocation.command = Command::exit;
    invocation.exit_status = exit->status;
    invocation.message = exit->message;
  }
  return invocation;
}

}  // namespace sluice::capture
