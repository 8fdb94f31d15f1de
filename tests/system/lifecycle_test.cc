// The effects of signals: draining, its deadline, the end at once, a new log file, the counters.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint64_t kTransferBytes = 4 << 20;

class DrainTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    upstream_ = listen_tcp();
  }
  [[nodiscard]] std::vector<std::string> arguments(const std::string& drain_timeout) const {
    return route_arguments({GetParam(), "auto"}, loopback_address(upstream_.port),
                           {"--workers", "2", "--drain-timeout", drain_timeout});
  }

  Listener upstream_;
};

TEST_P(DrainTest, OpenConnectionFinishesAndNewOnesAreRefused) {
  Daemon daemon(arguments("10m"));
  Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), 1), "");

  daemon.process().signal(SIGTERM);
  ASSERT_TRUE(wait_until([&] { return try_connect(daemon.port()) == ECONNREFUSED; }, kLate));
  // Takes the connections that try_connect() still got through.
  while (readable_within(upstream_.fd.get(), milliseconds(300))) {
    static_cast<void>(accept_from(upstream_.fd.get()));
  }
  ASSERT_TRUE(daemon.wait_for_log(Regex("draining"), kLate));
  EXPECT_EQ(count_lines(daemon.log(), Regex("draining")), 1U);
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(2), kTransferBytes), "");
  EXPECT_EQ(transfer(pair.upstream.get(), pair.client.get(), Pattern(3), kTransferBytes), "");
  EXPECT_TRUE(daemon.process().running());

  finish_sending(pair.client.get());
  EXPECT_EQ(receive_text(pair.upstream.get(), 1, kLate), "");
  finish_sending(pair.upstream.get());
  EXPECT_EQ(daemon.process().wait(kLate), 0);
  const auto ends = connection_ends(daemon.log());
  const auto end = std::find_if(ends.begin(), ends.end(),
                                [](const auto& each) { return each.to_client == kTransferBytes; });
  ASSERT_NE(end, ends.end()) << daemon.log();
  EXPECT_EQ(end->reason, "closed") << end->line;
  EXPECT_EQ(end->to_upstream, kTransferBytes + 1) << end->line;
  EXPECT_EQ(count_lines(daemon.log(), Regex("ended.*reason=drained")), 1U);
}

TEST_P(DrainTest, DeadlineResetsWhatIsLeft) {
  for (const char* timeout : {"700ms", "0"}) {
    Daemon daemon(arguments(timeout));
    const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
    EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), 1), "");
    const auto began = steady_clock::now();
    daemon.process().signal(SIGINT);
    std::byte byte{};
    EXPECT_EQ(receive_some(pair.client.get(), {&byte, 1}, kLate).ending, Ending::reset);
    EXPECT_EQ(receive_some(pair.upstream.get(), {&byte, 1}, kLate).ending, Ending::reset);
    if (*timeout != '0') {
      EXPECT_GE(steady_clock::now() - began, milliseconds(690));
    }
    EXPECT_EQ(daemon.process().wait(kLate), 0);
    const auto ends = connection_ends(daemon.log());
    ASSERT_EQ(ends.size(), 1U) << daemon.log();
    EXPECT_EQ(ends[0].reason, "drain_timeout");
  }
}

TEST_P(DrainTest, AnEndThatCameWhileTheProcessWasStoppedIsNotLate) {
  constexpr milliseconds kTimeout{500};
  Daemon daemon(arguments("500ms"));
  const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  const auto began = steady_clock::now();
  daemon.process().signal(SIGTERM);
  ASSERT_TRUE(daemon.wait_for_log(Regex("draining"), kLate));
  daemon.process().signal(SIGSTOP);
  const bool in_time = steady_clock::now() - began < kTimeout;
  EXPECT_TRUE(send_all(pair.client.get(), "x"));
  finish_sending(pair.client.get());
  finish_sending(pair.upstream.get());
  std::this_thread::sleep_for(2 * kTimeout);
  daemon.process().signal(SIGCONT);
  if (!in_time) GTEST_SKIP() << "the machine stood still";
  EXPECT_EQ(receive_text(pair.upstream.get(), 1, kLate), "x");
  EXPECT_EQ(daemon.process().wait(kLate), 0);
  const auto ends = connection_ends(daemon.log());
  ASSERT_EQ(ends.size(), 1U) << daemon.log();
  EXPECT_EQ(ends[0].reason, "closed");
}

TEST_P(DrainTest, SecondSignalEndsAtOnce) {
  for (const int second : {SIGTERM, SIGINT}) {
    Daemon daemon(arguments("1d"));
    const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
    daemon.process().signal(SIGTERM);
    ASSERT_TRUE(daemon.wait_for_log(Regex("draining"), kLate));
    EXPECT_EQ(daemon.process().wait(milliseconds(300)), std::nullopt);
    daemon.process().signal(second);
    EXPECT_EQ(daemon.process().wait(kLate), 0);
    EXPECT_EQ(count_lines(daemon.log(), Regex("ended.*second signal")), 1U);
  }
}

// A unix socket does not report when its backlog has room again, so the daemon polls it.
TEST_P(DrainTest, AConnectThatWaitsForRoomInABacklogIsGivenUp) {
  for (const bool by_second_signal : {false, true}) {
    const TempDir folder;
    const std::string path = folder.file("upstream.sock");
    const OwnedFd upstream = listen_unix(path);
    ASSERT_EQ(::listen(upstream.get(), 0), 0);
    const OwnedFd takes_the_only_place = connect_unix(path);
    Daemon daemon(route_arguments(
        {GetParam(), "auto"}, "unix:" + path,
        {"--connect-timeout", "10m", "--drain-timeout", by_second_signal ? "1d" : "300ms"}));
    const OwnedFd client = connect_tcp(daemon.port());
    daemon.process().signal(SIGTERM);
    if (by_second_signal) {
      ASSERT_TRUE(daemon.wait_for_log(Regex("draining"), kLate));
      EXPECT_EQ(daemon.process().wait(milliseconds(300)), std::nullopt);
      daemon.process().signal(SIGTERM);
    }
    std::byte byte{};
    EXPECT_EQ(receive_some(client.get(), {&byte, 1}, kLate).ending, Ending::reset);
    EXPECT_EQ(daemon.process().wait(kLate), 0);
    const auto ends = connection_ends(daemon.log());
    ASSERT_EQ(ends.size(), 1U) << daemon.log();
    EXPECT_EQ(ends[0].reason, "drain_timeout");
  }
}

TEST_P(DrainTest, NothingOpenEndsAtOnce) {
  Daemon daemon(arguments("1d"));
  EXPECT_EQ(daemon.terminate(kLate), 0);
}

INSTANTIATE_TEST_SUITE_P(BothEngines, DrainTest, testing::Values("uring", "epoll"),
                         [](const auto& about) { return about.param; });

/// A daemon that logs to a file and echoes.
class LogFileTest : public testing::Test {
 protected:
  LogFileTest() {
    std::filesystem::create_directory(folder_.file("log"));
    DaemonOptions options;
    options.log_file = log_file_;
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--listen", "127.0.0.1:0", "--to",
                                                                "echo:", "--log-file", log_file_},
                                       options);
  }
  /// Makes a connection whose end is logged.
  void connect_and_end() const {
    const OwnedFd fd = connect_tcp(daemon_->port());
    EXPECT_TRUE(echoes(fd.get()));
  }
  [[nodiscard]] static bool wait_for_ends_in(const std::string& path, std::size_t count) {
    return wait_until([&] { return connection_ends(read_text(path)).size() == count; }, kLate);
  }

  TempDir folder_;
  std::string log_file_ = folder_.file("log") + "/sluice.log";
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(LogFileTest, HangupOpensTheFileAnew) {
  connect_and_end();
  ASSERT_TRUE(wait_for_ends_in(log_file_, 1));
  const std::string old_file = folder_.file("sluice.log.1");
  std::filesystem::rename(log_file_, old_file);
  connect_and_end();
  ASSERT_TRUE(wait_for_ends_in(old_file, 2)) << "before the signal the old file is still written";

  daemon_->process().signal(SIGHUP);
  ASSERT_TRUE(wait_until([&] { return std::filesystem::exists(log_file_); }, kLate));
  connect_and_end();
  ASSERT_TRUE(wait_for_ends_in(log_file_, 1));
  EXPECT_EQ(connection_ends(read_text(old_file)).size(), 2U);
  EXPECT_EQ(daemon_->terminate(kLate), 0);
  EXPECT_EQ(daemon_->process().standard_error(), "");
  EXPECT_EQ(connection_ends(read_text(old_file)).size(), 2U);
  EXPECT_EQ(count_lines(read_text(log_file_), Regex("ended.*reason=drained")), 1U);
}

TEST_F(LogFileTest, HangupKeepsTheOldFileIfThereIsNoNewOne) {
  const std::string old_folder = folder_.file("old");
  std::filesystem::rename(folder_.file("log"), old_folder);
  const std::string old_file = old_folder + "/sluice.log";
  daemon_->process().signal(SIGHUP);
  ASSERT_TRUE(wait_until(
      [&] { return count_lines(read_text(old_file), Regex("log_reopen_failed")) == 1; }, kLate));
  connect_and_end();
  EXPECT_TRUE(wait_for_ends_in(old_file, 1));
}

/// SIGUSR1 is answered at every log level; at these, nothing else is logged.
class CountersTest : public testing::TestWithParam<std::string> {};

TEST_P(CountersTest, ArePrintedWhenAskedFor) {
  const std::uint16_t port = free_port();
  DaemonOptions options;
  options.listeners = 0;
  Daemon daemon({"--listen", loopback_address(port), "--to", "echo:", "--log-level", GetParam()},
                options);
  ASSERT_TRUE(wait_until([&] { return try_connect(port) == 0; }, kLate));
  {
    const OwnedFd fd = connect_tcp(port);
    ASSERT_TRUE(echoes(fd.get()));
    EXPECT_EQ(daemon.log(), "");
    daemon.process().signal(SIGUSR1);
    ASSERT_TRUE(daemon.wait_for_log(Regex("stats"), kLate));
  }
  const auto first = lines_of(daemon.log());
  ASSERT_EQ(first.size(), 1U) << daemon.log();
  LogFields counters = parse_text_line(first[0]);
  // The try_connect() above may or may not count.
  EXPECT_TRUE(counters["accepted"] == "1" || counters["accepted"] == "2") << first[0];
  EXPECT_TRUE(counters["active"] == "1" || counters["active"] == "2") << first[0];
  for (const char* zero : {"client_resets", "upstream_resets", "connect_failures", "timeouts",
                           "stopped", "bytes_spliced", "log_lines_dropped"}) {
    EXPECT_EQ(counters[zero], "0") << zero;
  }

  // The counters change with each event.
  ASSERT_TRUE(wait_until(
      [&] {
        const std::size_t lines_before = lines_of(daemon.log()).size();
        daemon.process().signal(SIGUSR1);
        if (!wait_until([&] { return lines_of(daemon.log()).size() > lines_before; }, kLate)) {
          return false;
        }
        counters = parse_text_line(lines_of(daemon.log()).back());
        return counters["closed"] == "2" && counters["active"] == "0";
      },
      kLate));
  EXPECT_EQ(counters["accepted"], "2");
  EXPECT_EQ(counters["bytes_to_upstream"], "1");
  EXPECT_EQ(counters["bytes_to_client"], "1");
  const std::size_t lines_before = lines_of(daemon.log()).size();
  EXPECT_EQ(daemon.terminate(kLate), 0);
  EXPECT_EQ(lines_of(daemon.log()).size(), lines_before) << "at the end nobody has asked";
}

INSTANTIATE_TEST_SUITE_P(QuietLevels, CountersTest, testing::Values("warn", "off"),
                         [](const auto& about) { return about.param; });

}  // namespace
}  // namespace sluice::test
