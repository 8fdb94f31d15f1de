#include "tools/capture/options.h"

#include <optional>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "tools/capture/commands.h"
#include "tools/capture/tcp_frame.h"
#include "tools/common/command_line.h"
#include "tools/common/filter_options.h"

namespace sluice::capture {
namespace {

// The values of options before they are parsed further.
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
    const std::optional<unsigned> digit = hex_digit(c);
    if (!digit) {
      throw Wrong{"--hex: " + in_quotes(text) + ": expected pairs of hexadecimal digits"};
    }
    if (high < 0) {
      high = static_cast<int>(*digit);
    } else {
      bytes += static_cast<char>(high << 4 | static_cast<int>(*digit));
      high = -1;
    }
  }
  if (high >= 0) throw Wrong{"--hex: " + in_quotes(text) + ": expected an even number of digits"};
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
  if (pattern.bytes.empty() && pattern.regex.empty())
    throw Wrong{"search: the pattern is empty, expected at least one byte"};
  if (pattern.bytes.size() > kMostPatternBytes || pattern.regex.size() > kMostPatternBytes) {
    throw Wrong{"search: the pattern is too long, expected at most " +
                std::to_string(kMostPatternBytes) + " bytes"};
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
  const bool exports = invocation.run == run_export;
  if (exports && invocation.pcapng.empty() == invocation.jsonl.empty()) {
    throw Wrong{"export: expected one of --pcapng and --jsonl"};
  }
  if (exports && invocation.pcapng.empty()) {
    if (invocation.mtu_bytes > 0) throw Wrong{"--mtu: given without --pcapng, expected both"};
    if (!invocation.keylog.empty()) throw Wrong{"--keylog: given without --pcapng, expected both"};
  }
  if (invocation.run == run_search) invocation.pattern = pattern_of(words);
}

CommandOption& add_side(Command& command, Words& words) {
  return command.add_choice("--side", "SIDE",
                            {std::string(kSideNames[0]), std::string(kSideNames[1])}, words.side,
                            "Select the bytes that this side sent: client or upstream.");
}

constexpr const char* kExamples =
    "  sluice-capture ls capture\n"
    "  sluice-capture show --port 5432 --from 2026-11-24T09:30:00Z capture\n"
    "  sluice-capture export --pcapng capture.pcapng capture\n";

constexpr const char* kFooter = R"(
A TIME of --from and --until is 2026-11-24T09:30:00Z (+02:00 can stand for Z),
2026-11-24, or @SECONDS since 1970.

Exit status: 0 done; 1 something cannot be read or written, or is no capture;
2 wrong usage. cat, export, extract, ls, search, show and stat: 4 bytes are
missing without a record (cat: any bytes are missing), 5 damage. verify: 0
clean, 3 a torn tail only, 4 gaps, 5 damage.
)";

// The subcommands.
class Commands : public Subcommands<Run> {
 public:
  Commands(Command& program, Words& words, Invocation& invocation)
      : Subcommands(program), words_(words), invocation_(invocation) {
    add("ls", run_ls, "List the connections.");
    add("stat", run_stat, "Print counts of segments, records, bytes and gaps.");
    add_reading();
    add_writing();
    add_search();
    add("verify", run_verify, "Check that nothing is missing or damaged.");
    add_out(add("recover", run_recover, "Write everything that is intact into a new capture."));
  }

 private:
  Command& add(const char* word, Run* run, const char* about);
  void add_reading();
  void add_writing();
  void add_search();
  void add_out(Command& command) {
    command
        .add_text("--out", "DIR", invocation_.out,
                  "Write to this directory, which must be new or empty.")
        .required();
  }

  Words& words_;
  Invocation& invocation_;
};

Command& Commands::add(const char* word, Run* run, const char* about) {
  Command& command = Subcommands::add(word, run, about);
  command.add_words("PATH", "DIR|FILE", invocation_.paths,
                    "Directories of captures, or single segments.");
  if (run != run_export) command.add_flag("--json", invocation_.json, "Print JSON, for programs.");
  return command;
}

void Commands::add_reading() {
  Command& cat = add("cat", run_cat, "Write one side of a connection to stdout.");
  add_connection_filter(cat, invocation_.filter).required();
  add_side(cat, words_).required();
  cat.add_flag("--skip-gaps", invocation_.skip_gaps,
               "Go on behind missing bytes. Without it, the output ends at the first.");
  Command& show = add("show", run_show, "Print the records as text, with their times.");
  Command& follow = add("follow", run_follow, "Print records as they are written, until SIGINT.");
  for (Command* command : {&show, &follow}) {
    add_side(*command, words_);
    add_filter(*command, words_.filter, invocation_.filter);
    command->add_flag("--hex", invocation_.hex, "Print bytes as hexadecimal numbers.");
  }
  follow.add_text("--until-idle", "TIME", words_.until_idle,
                  "End after this time without a new record, such as 5s.");
}

void Commands::add_writing() {
  add_out(add("extract", run_extract, "Write a file per connection side, and index.json."));
  Command& exports = add("export", run_export, "Write frames for Wireshark, or lines of JSON.");
  exports.add_text("--pcapng", "FILE", invocation_.pcapng,
                   "Write Ethernet frames to this new file. - is stdout.");
  exports.add_number<std::size_t>(
      "--mtu", "BYTES", TcpPath::kLeastMtuBytes, TcpPath::kMostMtuBytes, invocation_.mtu_bytes,
      "Write no IP packet larger than this, so that a network takes the frames.");
  exports.add_text("--keylog", "FILE", invocation_.keylog,
                   "Embed the TLS secrets of this file (SSLKEYLOGFILE), which decrypt the frames.");
  exports.add_text("--jsonl", "FILE", invocation_.jsonl,
                   "Write a JSON object for each record to this new file. - is stdout.");
  add_side(exports, words_);
  add_filter(exports, words_.filter, invocation_.filter);
}

void Commands::add_search() {
  Command& search = add("search", run_search, "Find where the bytes of a stream match a pattern.");
  add_side(search, words_);
  add_filter(search, words_.filter, invocation_.filter);
  search.add_text("--text", "TEXT", words_.text, "Find these bytes.");
  search.add_text("--hex", "HEX", words_.hex, "Find these bytes, written as hexadecimal numbers.");
  search.add_text("--regex", "REGEX", words_.regex,
                  "Find matches of this extended regular expression. Matches of at most 4096 bytes "
                  "are found whole.");
}

}  // namespace

Invocation parse_command_line(int argc, char** argv) {
  Invocation invocation;
  Words words;
  Command program("sluice-capture", "Reads what sluice --capture has recorded or is recording.");
  program.set_version("sluice-capture " SLUICE_VERSION);
  program.set_examples(kExamples);
  program.set_footer(kFooter);
  const Commands commands(program, words, invocation);
  const auto exit = program.parse(argc, argv, [&] {
    invocation.run = commands.chosen();
    understand(words, invocation);
  });
  if (exit) {
    invocation.run = nullptr;
    invocation.exit_status = exit->status;
    invocation.message = exit->message;
  }
  return invocation;
}

}  // namespace sluice::capture
