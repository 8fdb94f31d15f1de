#include "tools/capture/options.h"

#include <CLI/CLI.hpp>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "iolib/base/text.h"
#include "iolib/base/units.h"

namespace sluice::capture {
namespace {

constexpr int kUsageStatus = 2;

/// A wrong value, as one line.
struct Wrong {
  std::string message;
};

// As they are written, before they are understood.
struct Words {
  std::string side, from, to, until_idle;
  std::optional<std::string> text, hex, regex;
  std::vector<std::string> peers;
};

template <class T>
T value_of(const char* option, const Result<T>& parsed) {
  if (parsed.has_error()) throw Wrong{std::string(option) + ": " + parsed.error().to_string()};
  return *parsed;
}

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
  Filter& filter = invocation.filter;
  for (const std::string& peer : words.peers) {
    filter.peers.push_back(value_of("--peer", Cidr::parse(peer)));
  }
  if (!words.from.empty()) filter.from_ns = value_of("--from", parse_time(words.from));
  if (!words.to.empty()) filter.until_ns = value_of("--to", parse_time(words.to));
  if (words.side == kSideNames[0]) invocation.side = Side::client;
  if (words.side == kSideNames[1]) invocation.side = Side::upstream;
  if (!words.until_idle.empty()) {
    invocation.until_idle = value_of("--until-idle", parse_duration(words.until_idle));
  }
  if (invocation.command == Invocation::Command::search) invocation.pattern = pattern_of(words);
}

CLI::Option* add_connection(CLI::App* command, Invocation& invocation) {
  return command->add_option("--connection", invocation.filter.id, "its id, as `ls` shows it")
      ->type_name("ID");
}

CLI::Option* add_side(CLI::App* command, Words& words) {
  return command->add_option("--side", words.side, "whose bytes: client or upstream")
      ->check(CLI::IsMember({"client", "upstream"}))
      ->type_name("SIDE");
}

void add_filters(CLI::App* command, Words& words, Invocation& invocation) {
  add_connection(command, invocation);
  add_side(command, words);
  command
      ->add_option("--peer", words.peers,
                   "the client's or the upstream's address; may be given again")
      ->allow_extra_args(false)
      ->type_name("CIDR");
  command
      ->add_option("--port", invocation.filter.ports,
                   "the client's or the upstream's; may be given again")
      ->allow_extra_args(false)
      ->type_name("PORT");
  command->add_option("--route", invocation.filter.route, "the route's name")->type_name("NAME");
  command->add_option("--from", words.from, "not before, as 2026-11-24T09:30:00Z")
      ->type_name("TIME");
  command->add_option("--to", words.to, "before")->type_name("TIME");
}

constexpr const char* kFooter = R"(
TIME is 2026-11-24T09:30:00Z (or with +02:00 for Z), 2026-11-24, or @SECONDS since 1970.

Exit status: 0 done; 1 something cannot be read or written, or is no capture; 2 wrong usage; cat,
extract, ls, search, show, stat: 4 bytes are missing without a record (cat: missing), 5 damage;
verify: 0 clean, 3 a torn tail only, 4 gaps, 5 damage.
)";

std::string one_line_of(const std::string& text) {
  const std::string line = text.substr(0, text.find('\n'));
  return "sluice-capture: " + one_line(line) + "\n";
}

using Command = Invocation::Command;

void add_commands(CLI::App& app, Words& words, Invocation& invocation) {
  const auto add = [&](const char* name, Command command, const char* what) {
    CLI::App* sub = app.add_subcommand(name, what);
    sub->add_option("PATH", invocation.paths, "directories of captures, or segments of them")
        ->required()
        ->type_name("DIR|FILE");
    sub->add_flag("--json", invocation.json, "for programs");
    sub->callback([&invocation, command] { invocation.command = command; });
    return sub;
  };
  add("ls", Command::ls, "The connections.");
  add("stat", Command::stat, "What there is, in numbers.");
  CLI::App* cat = add("cat", Command::cat, "The bytes of one side of a connection, to stdout.");
  add_connection(cat, invocation)->required();
  add_side(cat, words)->required();
  cat->add_flag("--skip-gaps", invocation.skip_gaps, "go on behind missing bytes");
  CLI::App* show = add("show", Command::show, "The records, readable, with their times.");
  CLI::App* follow =
      add("follow", Command::follow, "The same while it is being written, until SIGINT.");
  for (CLI::App* command : {show, follow}) {
    add_filters(command, words, invocation);
    command->add_flag("--hex", invocation.hex, "bytes as hexadecimal numbers");
  }
  follow->add_option("--until-idle", words.until_idle, "end once nothing has come for so long")
      ->type_name("TIME");
  CLI::App* extract =
      add("extract", Command::extract, "A file for each side of each connection, and index.json.");
  extract->add_option("--out", invocation.out, "a new or empty directory")
      ->type_name("DIR")
      ->required();
  CLI::App* search = add("search", Command::search, "Where the bytes of a stream match.");
  add_filters(search, words, invocation);
  search->add_option("--text", words.text, "these bytes")->type_name("TEXT");
  search->add_option("--hex", words.hex, "these bytes, as hexadecimal numbers")->type_name("HEX");
  search
      ->add_option("--regex", words.regex,
                   "an extended regular expression; across records, matches of up to 4096 bytes")
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
  app.require_subcommand(1);
  add_commands(app, words, invocation);
  try {
    app.parse(argc, argv);
    understand(words, invocation);
    return invocation;
  } catch (const CLI::Success& asked) {
    std::ostringstream text;
    std::ostringstream ignored;
    app.exit(asked, text, ignored);
    invocation.message = text.str();
  } catch (const CLI::ParseError& error) {
    invocation.exit_status = kUsageStatus;
    invocation.message = one_line_of(error.what());
  } catch (const Wrong& wrong) {
    invocation.exit_status = kUsageStatus;
    invocation.message = one_line_of(wrong.message);
  }
  invocation.command = Command::exit;
  return invocation;
}

}  // namespace sluice::capture
