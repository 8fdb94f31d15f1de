// sluice-ctl top, with a terminal and without one.

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/temp_dir.h"
#include "tests/support/terminal.h"
#include "tests/support/wait.h"
#include "tests/system/ctl_program.h"
#include "tests/tools/ctl/stub_server.h"

namespace sluice::test {
namespace {

const std::string kEnterScreen = "\x1b[?1049h";
const std::string kLeaveScreen = "\x1b[?1049l";

/// A daemon with two routes and some connections. Each look at the routes finds 1 MiB more.
class Busy {
 public:
  enum class Mode { answers, refuses, hangs };
  explicit Busy(int connections = 3) : connections_(connections) {}

  StubReply answer(const std::string& request) {
    if (mode == Mode::refuses) return stub_problem(503, "busy \\u001b[31m");
    if (mode == Mode::hangs) {
      hangs = true;
      return {"", StubReply::Then::hold};
    }
    if (contains(request, "/v1/status")) {
      return stub_json(R"({"version":"9.8","state":"ready","uptime_seconds":61,"connections":3})");
    }
    if (contains(request, "/v1/routes")) {
      const std::string bytes = std::to_string(std::uint64_t{1 << 20} * ++looks_);
      const std::string route =
          R"(,"connections":2,"accepted":"5","rejected":{"denied":"7"},"bytes":{"to_upstream":")" +
          bytes + R"(","to_client":"0"},"servers":1,"servers_usable":1})";
      return stub_json(R"({"items":[{"name":"web")" + route + R"(,{"name":"mail")" + route +
                       R"(],"next":null})");
    }
    std::string items;
    for (int i = 0; i < connections_; ++i) {
      items += (i == 0 ? "" : ",") + (R"({"id":"id-)" + std::to_string(i)) +
               R"(","client":"10.0.0.1:5","route":"web","server":"10.0.0.2:80","bytes":"2048",)"
               R"("bytes_to_upstream":"2048","bytes_to_client":"0","age_seconds":3,)"
               R"("idle_seconds":0})";
    }
    return stub_json("{\"items\":[" + items + "],\"next\":null}");
  }

  std::atomic<Mode> mode{Mode::answers};
  std::atomic<bool> hangs{false};  // a request has no answer

 private:
  const int connections_;
  std::uint64_t looks_ = 0;  // only the stub's thread looks
};

/// top on a terminal, once it has drawn.
class TopOnATerminal : public testing::Test {
 protected:
  void start(const std::vector<std::string>& more = {}) {
    terminal.resize(24, 100);
    before_ = terminal.settings();
    std::vector<std::string> command = {ctl_program(), "top", "--socket", stub.path()};
    command.insert(command.end(), more.begin(), more.end());
    ProcessOptions options;
    options.standard_input = terminal.program_end();
    options.standard_output = terminal.program_end();
    process = std::make_unique<Process>(std::move(command), options);
    shown = terminal.read_until("id-2");
    ASSERT_TRUE(contains(shown, "id-2")) << shown << process->standard_error();
  }

  /// Whether what the program changed is as it was.
  [[nodiscard]] bool restored() const {
    const termios now = terminal.settings();
    return now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag &&
           std::memcmp(now.c_cc, before_.c_cc, sizeof now.c_cc) == 0;
  }
  /// Waits for the end; everything that is shown until then goes to `shown`.
  [[nodiscard]] std::optional<int> end() {
    if (!contains(shown, kLeaveScreen)) shown += terminal.read_until(kLeaveScreen);
    return process->wait(kLate);
  }

  Busy busy;
  StubServer stub{[this](const std::string& request) { return busy.answer(request); }};
  Terminal terminal;
  std::unique_ptr<Process> process;
  std::string shown;

 private:
  termios before_{};
};

TEST_F(TopOnATerminal, DrawsOnAScreenOfItsOwnAndQuits) {
  start();
  EXPECT_FALSE(restored());
  shown += terminal.read_until("MiB/s");
  terminal.type("q");
  EXPECT_EQ(end(), 0);
  EXPECT_TRUE(shown.starts_with(kEnterScreen)) << shown;
  for (const char* text : {"sluice 9.8  ready  up 1m1s  connections 3", "sorted by [bytes]",
                           "ROUTE", "web ", "mail ", "CONNECTION", "10.0.0.2:80", "2 KiB"}) {
    EXPECT_TRUE(contains(shown, text)) << text;
  }
  EXPECT_TRUE(shown.ends_with(kLeaveScreen)) << shown;
  EXPECT_TRUE(restored());
  EXPECT_EQ(process->standard_error(), "");
}

TEST_F(TopOnATerminal, SignalsEndItAndTheTerminalIsAsBefore) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    start();
    process->signal(signal);
    EXPECT_EQ(end(), -signal);
    EXPECT_TRUE(shown.ends_with(kLeaveScreen)) << shown;
    EXPECT_TRUE(restored()) << signal;
  }
}

TEST_F(TopOnATerminal, ACountEndsIt) {
  start({"--count", "1"});
  EXPECT_EQ(end(), 0);
  EXPECT_TRUE(restored());
}

TEST_F(TopOnATerminal, KeysChooseTheOrder) {
  start();
  const auto asked = [&](const std::string& sort) {
    return wait_until(
        [&] {
          for (const std::string& line : stub.lines()) {
            if (contains(line, "sort=" + sort)) return true;
          }
          return false;
        },
        kLate);
  };
  EXPECT_TRUE(asked("bytes"));
  terminal.type("a");
  EXPECT_TRUE(contains(terminal.read_until("[age]"), "[age]"));
  EXPECT_TRUE(asked("age"));
  terminal.type("\x1b[C");
  EXPECT_TRUE(contains(terminal.read_until("[idle]"), "[idle]"));
  EXPECT_TRUE(asked("idle"));
  terminal.type("\x1b[D\x1b[D\x1b[D");
  EXPECT_TRUE(contains(terminal.read_until("[id]"), "[id]"));
  EXPECT_TRUE(asked("id&"));
  terminal.type("xq");
  EXPECT_EQ(end(), 0);
}

/// The text of the last frame, a line for each row.
std::vector<std::string> last_frame(const std::string& shown) {
  const std::string frame = shown.substr(shown.rfind("\x1b[H") + 3);
  return lines_of(Regex("\x1b\\[[0-9;?]*[A-Za-z]|\r").replaced(frame, ""));
}

TEST_F(TopOnATerminal, FollowsTheSizeOfTheWindow) {
  start();
  terminal.resize(9, 30);
  process->signal(SIGWINCH);
  // A frame that fills the window has nothing below it to erase.
  ASSERT_TRUE(wait_until(
      [&] {
        shown = terminal.read_until("\x1b[H") + terminal.read_until("\x1b[H");
        const std::size_t first = shown.find("\x1b[H");
        shown = shown.substr(first, shown.rfind("\x1b[H") - first);
        return last_frame(shown).size() == 9;
      },
      kLate));
  for (const std::string& line : last_frame(shown)) EXPECT_LE(line.size(), 30U) << line;
  terminal.type("q");
  EXPECT_EQ(end(), 0);
}

TEST_F(TopOnATerminal, WithoutAnswersItShowsTheLastOnesAndWhyAndGoesOn) {
  start();
  busy.mode = Busy::Mode::refuses;
  shown = terminal.read_until("ago: busy");
  EXPECT_TRUE(contains(shown, "as of ")) << shown;
  busy.mode = Busy::Mode::answers;
  EXPECT_TRUE(contains(terminal.read_until("sorted by"), "sorted by"));
  terminal.type("q");
  EXPECT_EQ(end(), 0);
  EXPECT_FALSE(contains(shown, "\x1b[31m")) << shown;
}

TEST_F(TopOnATerminal, QuitsWhileTheDaemonDoesNotAnswer) {
  start();
  busy.mode = Busy::Mode::hangs;
  ASSERT_TRUE(wait_until([&] { return busy.hangs.load(); }, kLate));
  terminal.type("q");
  EXPECT_EQ(end(), 0);
  EXPECT_FALSE(contains(shown, "no answer")) << shown;
  EXPECT_TRUE(restored());
}

/// The state of a process as ps(1) shows it: S, R, T.
char state_of(pid_t pid) {
  const std::string stat = read_text("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t end = stat.rfind(") ");
  return end == std::string::npos ? '?' : stat[end + 2];
}

TEST_F(TopOnATerminal, AStopGivesTheTerminalBackUntilItGoesOn) {
  start();
  process->signal(SIGTSTP);
  ASSERT_TRUE(wait_until([&] { return state_of(process->pid()) == 'T'; }, kLate));
  EXPECT_TRUE(contains(terminal.read_until(kLeaveScreen), kLeaveScreen));
  EXPECT_TRUE(restored());
  process->signal(SIGCONT);
  EXPECT_TRUE(contains(terminal.read_until(kEnterScreen), kEnterScreen));
  terminal.type("q");
  EXPECT_EQ(end(), 0);
  EXPECT_TRUE(restored());
}

TEST(CtlTopTest, WithoutATerminalItPrintsTables) {
  Busy busy(2);
  const StubServer stub([&](const std::string& request) { return busy.answer(request); });
  const Outcome outcome = run_ctl_at(stub.path(), {"top", "--count", "2", "--sort", "idle"});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_FALSE(contains(outcome.output, "\x1b")) << outcome.output;
  const std::size_t second = outcome.output.rfind("sluice 9.8");
  ASSERT_GT(second, 0U);
  EXPECT_TRUE(Regex("web +2 +- +5 +7 +- +- +1/1").is_in(outcome.output.substr(0, second)));
  EXPECT_TRUE(Regex("web +2 +- +5 +7 +[0-9.]+ [KM]iB/s +0 bytes/s +1/1")
                  .is_in(outcome.output.substr(second)))
      << outcome.output;
  EXPECT_TRUE(contains(stub.lines().back(), "sort=idle&limit=20")) << stub.lines().back();
}

TEST(CtlTopTest, NobodyThereIsReportedAndNothingIsDrawn) {
  Terminal terminal;
  ProcessOptions options;
  options.standard_input = terminal.program_end();
  options.standard_output = terminal.program_end();
  const Outcome outcome = run_ctl({"top", "--socket", "/missing/admin.sock"}, options);
  EXPECT_EQ(outcome.status, 3);
  EXPECT_TRUE(contains(outcome.error, "nobody answers")) << outcome.error;
  terminal.close_program_end();
  EXPECT_EQ(terminal.read_to_end(), "");
}

}  // namespace
}  // namespace sluice::test
