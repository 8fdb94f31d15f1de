#include "tools/replay/options.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <string_view>
#include <variant>

#include "iolib/base/address.h"
#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "tools/common/command_line.h"
#include "tools/common/endpoint.h"
#include "tools/common/filter_options.h"

namespace sluice::replay {
namespace {

constexpr double kLeastSpeed = 0.001;
constexpr double kMostSpeed = 1'000'000;
constexpr std::uint64_t kMostRepeats = 1'000'000;
constexpr std::size_t kMostConnections = 1'000'000;

constexpr const char* kExamples =
    "  sluice-replay capture --to new-db:5432 --speed max --wait-responses --compare\n"
    "  sluice-replay capture --to new-db:5432 --speed 10x --html report.html\n";

constexpr const char* kFooter = R"(
A TIME of --from and --until is 2026-11-24T09:30:00Z (+02:00 can stand for Z),
2026-11-24, or @SECONDS since 1970; the options refer to the beginning of a
connection.

Exit status: 0 everything was replayed; 1 something cannot be read or written,
connections failed, or awaited answers did not come; 2 wrong usage; 4 the
recording lacks bytes of clients, connections, the ends of connections, or
answers to wait for or to compare, or is damaged; 6 answers differ; 130
interrupted, after the report was printed.
)";

// The values of options before they are parsed further.
struct Words {
  std::string speed = "1x", response_timeout = "10s", max_gap;
  std::vector<std::string> ignored, patterns;
  capture::FilterWords filter;
};

template <class T>
std::optional<T> number_of(std::string_view text) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

void add_options(Command& program, Words& words, Invocation& invocation) {
  program.add_words("PATH", "DIR|FILE", invocation.paths,
                    "Directories of captures, or single segments.");
  program
      .add_text("--to", "ADDR", invocation.to,
                "Connect to this address. It is HOST:PORT, [IPV6]:PORT, :PORT, unix:/path or "
                "unix:@name.")
      .required()
      .common();
  program
      .add_text("--speed", "SPEED", words.speed,
                "Replay at this speed: 1x, 10x, 0.5x, or max. Default: 1x.")
      .common();
  program.add_text("--max-gap", "TIME", words.max_gap,
                   "Shorten longer times in which nothing is due to this, for all connections at "
                   "once. Without it, only the times between runs are skipped.");
  program
      .add_number<std::size_t>(
          "--connections", "N", 1, kMostConnections, invocation.pace.most_connections,
          "Open at most this many connections at once. The others wait. Default: as many as "
          "the limit on open files allows.")
      .common();
  program.add_number<std::uint64_t>("--repeat", "N", 1, kMostRepeats, invocation.pace.repeat,
                                    "Replay everything this many times. Default: 1.");
  program
      .add_flag(
          "--wait-responses", invocation.settings.wait_responses,
          "Send the next bytes only after the recorded answer. They wait until as many bytes of "
          "the answer have come as in the recording.")
      .common();
  program.add_text("--response-timeout", "TIME", words.response_timeout,
                   "Wait this much longer than recorded for an answer. Default: 10s.");
  program
      .add_flag("--compare", invocation.settings.compare,
                "Compare the answers with the recorded ones.")
      .common();
  program.add_texts(
      "--ignore", "RANGE", words.ignored,
      "Do not compare these bytes of each answer, such as 402+8. RANGE is OFFSET+BYTES. Can "
      "be repeated.");
  program.add_texts(
      "--ignore-pattern", "REGEX", words.patterns,
      "Do not compare what matches this regular expression (RE2), such as 'Date: .*', in both "
      "answers. Can be repeated.");
  program
      .add_text("--json", "FILE", invocation.json,
                "Write the report to this file as JSON. - is stdout.")
      .common();
  program
      .add_text("--html", "FILE", invocation.html,
                "Write the report to this file as a page. - is stdout.")
      .common();
  capture::add_filter(program, words.filter, invocation.filter, false);
}

std::optional<std::chrono::nanoseconds> max_gap_of(const std::string& text) {
  if (text.empty()) return {};
  const std::chrono::nanoseconds gap = value_of("--max-gap", parse_duration(text));
  constexpr std::chrono::hours kMost{24 * 365};
  if (gap < std::chrono::milliseconds(1) || gap > kMost) {
    throw Wrong{"--max-gap: " + in_quotes(text) + ": expected 1ms to 365d"};
  }
  return gap;
}

void understand(const Words& words, Invocation& invocation) {
  value_of("--to", parse_server_address(invocation.to));
  invocation.pace.speed = speed_of(words.speed);
  invocation.pace.max_gap = max_gap_of(words.max_gap);
  invocation.settings.response_timeout =
      value_of("--response-timeout", parse_duration(words.response_timeout));
  constexpr std::chrono::hours kMost{1};
  if (invocation.settings.response_timeout < std::chrono::milliseconds(1) ||
      invocation.settings.response_timeout > kMost) {
    throw Wrong{"--response-timeout: " + in_quotes(words.response_timeout) +
                ": expected 1ms to 1h"};
  }
  invocation.settings.ignored = ignored_of(words.ignored);
  invocation.settings.patterns = value_of("--ignore-pattern", Patterns::compile(words.patterns));
  if (!words.ignored.empty() && !invocation.settings.compare) {
    throw Wrong{"--ignore: given without --compare, expected both"};
  }
  if (!words.patterns.empty() && !invocation.settings.compare) {
    throw Wrong{"--ignore-pattern: given without --compare, expected both"};
  }
  if (!invocation.html.empty() && invocation.json == invocation.html) {
    throw Wrong{"--html: " + in_quotes(invocation.html) +
                " is also the file of --json, expected another"};
  }
  capture::understand_filter(words.filter, invocation.filter);
}

}  // namespace

double speed_of(const std::string& text) {
  if (text == "max") return 0;
  std::optional<double> speed;
  if (text.ends_with('x'))
    speed = number_of<double>(std::string_view(text).substr(0, text.size() - 1));
  // The negation also rejects not-a-number.
  if (!speed || !(*speed >= kLeastSpeed && *speed <= kMostSpeed)) {
    throw Wrong{"--speed: " + in_quotes(text) + ": expected 0.001x to 1000000x, or max"};
  }
  return *speed;
}

std::vector<Ignored> ignored_of(const std::vector<std::string>& texts) {
  std::vector<Ignored> ranges;
  for (const std::string& text : texts) {
    const std::size_t plus = text.find('+');
    const std::string_view words = text;
    const auto offset = number_of<std::uint64_t>(words.substr(0, plus));
    const auto bytes = plus == std::string::npos ? std::optional<std::uint64_t>(1)
                                                 : number_of<std::uint64_t>(words.substr(plus + 1));
    if (!offset || !bytes || *bytes == 0 || *offset + *bytes < *offset) {
      throw Wrong{"--ignore: " + in_quotes(text) + ": expected OFFSET+BYTES, such as 402+8"};
    }
    ranges.push_back({*offset, *bytes});
  }
  std::ranges::sort(ranges, {}, [](const Ignored& each) { return each.offset; });
  std::vector<Ignored> joined;
  for (const Ignored& range : ranges) {
    if (joined.empty() || range.offset > joined.back().offset + joined.back().bytes) {
      joined.push_back(range);
    } else {
      Ignored& last = joined.back();
      last.bytes = std::max(last.bytes, range.offset + range.bytes - last.offset);
    }
  }
  return joined;
}

Invocation parse_command_line(int argc, char** argv) {
  Invocation invocation;
  Words words;
  Command program("sluice-replay", "Sends again what clients sent while sluice was recording.");
  program.set_version("sluice-replay " SLUICE_VERSION);
  program.set_examples(kExamples);
  program.set_footer(kFooter);
  add_options(program, words, invocation);
  const auto exit = program.parse(argc, argv, [&] { understand(words, invocation); });
  if (exit) {
    invocation.exits = true;
    invocation.exit_status = exit->status;
    invocation.message = exit->message;
  }
  invocation.command = typed("sluice-replay", argc, argv);
  return invocation;
}

}  // namespace sluice::replay
