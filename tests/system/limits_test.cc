// When descriptors, places or memory are scarce, clients wait and nothing spins. The daemon holds
// nothing that it does not need.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>
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
using std::chrono::seconds;
using std::chrono::steady_clock;

/// Process memory for each idle connection. With epoll, the reactor has an entry for each of the
/// two sockets.
constexpr std::uint64_t kIdleBoundBytes = 1'000;
constexpr std::uint64_t kIdleBoundBytesWithEpoll = 1'250;

class LimitsTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
  }

  [[nodiscard]] static std::vector<std::string> arguments(
      const std::string& to, const std::vector<std::string>& more = {}) {
    return route_arguments({GetParam(), "auto"}, to, more);
  }
};

/// Lets the process have one more descriptor than it has now. Returns the former limit.
rlimit allow_one_more_descriptor(pid_t process) {
  std::set<int> open;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/fd")) {
    open.insert(std::stoi(entry.path().filename()));
  }
  int free_ones = 0;
  int limit = 0;
  for (; free_ones < 2; ++limit) free_ones += open.contains(limit) ? 0 : 1;
  rlimit before{};
  EXPECT_EQ(::prlimit(process, RLIMIT_NOFILE, nullptr, &before), 0);
  const rlimit now{static_cast<rlim_t>(limit - 1), before.rlim_max};
  EXPECT_EQ(::prlimit(process, RLIMIT_NOFILE, &now, nullptr), 0);
  return before;
}

/// Clients of an echo route that have each sent a byte. Some have it back already.
struct Askers {
  explicit Askers(std::uint16_t port, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      fds.push_back(connect_tcp(port));
      EXPECT_TRUE(send_all(fds.back().get(), "?"));
    }
  }
  [[nodiscard]] std::size_t answered() const {
    return static_cast<std::size_t>(std::count_if(fds.begin(), fds.end(), [](const OwnedFd& fd) {
      return readable_within(fd.get(), milliseconds(0));
    }));
  }
  /// Ends all answered ones in order. Returns how many are left. A wrong answer is a failure.
  std::size_t dismiss_answered() {
    std::erase_if(fds, [](const OwnedFd& fd) {
      if (!readable_within(fd.get(), milliseconds(0))) return false;
      EXPECT_EQ(receive_text(fd.get(), 1), "?");
      return true;
    });
    return fds.size();
  }

  std::vector<OwnedFd> fds;
};

TEST_P(LimitsTest, AcceptingPausesWithoutDescriptorsAndRecovers) {
  constexpr std::size_t kDescriptors = 64;
  constexpr std::size_t kClients = 100;
  DaemonOptions options;
  options.process.max_open_files = kDescriptors;
  Daemon daemon(arguments("echo:", {"--workers", "1"}), options);
  const Regex paused("accept_paused.*[Tt]oo many open files.* descriptors=64 ");

  const auto began = steady_clock::now();
  Askers askers(daemon.port(), kClients);
  ASSERT_TRUE(daemon.wait_for_log(paused, kLate));
  // Descriptors that this program inherited and passed on come on top of the limit.
  ASSERT_GE(daemon.fd_count(), kDescriptors);
  ASSERT_TRUE(daemon.wait_until_quiet(kLate));

  const auto cpu_before = daemon.usage().cpu;
  const auto wall_before = steady_clock::now();
  std::this_thread::sleep_for(seconds(1));
  const auto cpu = daemon.usage().cpu - cpu_before;
  EXPECT_LT(cpu * 20, steady_clock::now() - wall_before)
      << "CPU time used while accepting was paused, ns: " << cpu.count();

  // Clients with a place are served, and in the end every client gets a place.
  const std::size_t answered = askers.answered();
  EXPECT_GT(answered, kDescriptors / 3);
  EXPECT_LT(answered, kDescriptors);
  while (askers.dismiss_answered() > 0) {
    ASSERT_TRUE(wait_until([&] { return askers.answered() > 0; }, kLate)) << daemon.log();
  }
  EXPECT_TRUE(echoes(connect_tcp(daemon.port()).get()));
  // The message is repeated after ten seconds, which may pass if the machine stands still.
  const auto passed = std::chrono::duration_cast<seconds>(steady_clock::now() - began);
  EXPECT_LE(count_lines(daemon.log(), paused), 1U + static_cast<std::size_t>(passed.count()) / 10);
  EXPECT_TRUE(daemon.wait_for_log(Regex("accept_resumed times="), kLate));
  EXPECT_EQ(daemon.terminate(kLate), 0);
  const auto ends = connection_ends(daemon.log());
  EXPECT_EQ(ends.size(), kClients + 1);
  EXPECT_EQ(count_lines(daemon.log(), Regex("reason=closed")), ends.size());
}

/// Each connection takes two descriptors, so the daemon serves only as many as it has descriptors
/// for.
TEST_P(LimitsTest, NobodyIsResetForWantOfTheUpstreamsDescriptor) {
  constexpr std::size_t kClients = 60;
  const Daemon upstream(arguments("echo:", {"--workers", "1"}));
  DaemonOptions options;
  options.process.max_open_files = 64;
  Daemon daemon(arguments(loopback_address(upstream.port()), {"--workers", "1"}), options);
  ASSERT_TRUE(daemon.wait_for_log(Regex("connections_bounded.*max_connections=16"), kLate));
  Askers askers(daemon.port(), kClients);
  do {
    ASSERT_TRUE(wait_until([&] { return askers.answered() > 0; }, kLate)) << daemon.log();
  } while (askers.dismiss_answered() > 0);
  EXPECT_EQ(daemon.terminate(kLate), 0);
  EXPECT_EQ(count_lines(daemon.log(), Regex("reason=closed")), kClients);
}

/// If descriptors run out nevertheless, an accepted client waits for the next one.
TEST_P(LimitsTest, AcceptedClientWaitsForTheUpstreamsDescriptor) {
  const Daemon upstream(arguments("echo:", {"--workers", "1"}));
  Daemon daemon(arguments(loopback_address(upstream.port()), {"--workers", "1"}));
  ASSERT_TRUE(echoes(connect_tcp(daemon.port()).get()));
  ASSERT_EQ(daemon.wait_for_ends(1, kLate).size(), 1U);
  const rlimit before = allow_one_more_descriptor(daemon.process().pid());
  const OwnedFd client = connect_tcp(daemon.port());
  EXPECT_TRUE(send_all(client.get(), "?"));
  ASSERT_TRUE(daemon.wait_for_log(Regex("accept_paused.*[Tt]oo many open files"), kLate));
  EXPECT_FALSE(readable_within(client.get(), milliseconds(200)));
  ASSERT_EQ(::prlimit(daemon.process().pid(), RLIMIT_NOFILE, &before, nullptr), 0);
  EXPECT_EQ(receive_text(client.get(), 1, kLate), "?");
  EXPECT_TRUE(echoes(connect_tcp(daemon.port()).get()));
}

TEST_P(LimitsTest, ClientThatWaitsForADescriptorIsGivenUpWithTheDrain) {
  const Daemon upstream(arguments("echo:", {"--workers", "1"}));
  Daemon daemon(arguments(loopback_address(upstream.port()), {"--workers", "1", "--connect-timeout",
                                                              "1h", "--drain-timeout", "300ms"}));
  allow_one_more_descriptor(daemon.process().pid());
  const OwnedFd client = connect_tcp(daemon.port());
  ASSERT_TRUE(daemon.wait_for_log(Regex("accept_paused.*[Tt]oo many open files"), kLate));
  daemon.process().signal(SIGTERM);
  EXPECT_EQ(daemon.process().wait(kLate), 0);
  EXPECT_EQ(count_lines(daemon.log(), Regex("reason=drain_timeout")), 1U);
}

TEST_P(LimitsTest, ClientBeyondMaxConnectionsWaitsForAPlace) {
  for (const char* workers : {"1", "2"}) {
    Daemon daemon(arguments("echo:", {"--workers", workers, "--max-connections", "2"}));
    OwnedFd first = connect_tcp(daemon.port());
    const OwnedFd second = connect_tcp(daemon.port());
    ASSERT_TRUE(echoes(first.get()));
    ASSERT_TRUE(echoes(second.get()));
    const OwnedFd third = connect_tcp(daemon.port());
    EXPECT_TRUE(send_all(third.get(), "?"));
    EXPECT_FALSE(readable_within(third.get(), milliseconds(500)));
    EXPECT_TRUE(daemon.wait_until_quiet());
    EXPECT_EQ(count_lines(daemon.log(), Regex("connections_full max_connections=2 waited=1")), 1U);
    EXPECT_EQ(count_lines(daemon.log(), Regex("connections_resumed")), 0U);
    EXPECT_TRUE(echoes(second.get()));

    first.reset();
    EXPECT_EQ(receive_text(third.get(), 1, kLate), "?");
    EXPECT_TRUE(echoes(second.get()));
    EXPECT_TRUE(
        daemon.wait_for_log(Regex("connections_resumed max_connections=2 waited=1"), kLate));
    EXPECT_EQ(count_lines(daemon.log(), Regex("connections_full")), 1U);
    EXPECT_EQ(daemon.terminate(milliseconds(0)), std::nullopt) << "two connections are open";
  }
}

/// A client that was accepted before the drain began is served, even if it has no place yet.
TEST_P(LimitsTest, ClientThatWaitsForAPlaceIsServedWhileDraining) {
  Daemon daemon(arguments("echo:", {"--workers", "1", "--max-connections", "1"}));
  OwnedFd first = connect_tcp(daemon.port());
  ASSERT_TRUE(echoes(first.get()));
  const std::size_t fds = daemon.fd_count();
  OwnedFd second = connect_tcp(daemon.port());
  EXPECT_TRUE(send_all(second.get(), "?"));
  ASSERT_TRUE(wait_until([&] { return daemon.fd_count() > fds; }, kLate));
  daemon.process().signal(SIGTERM);
  ASSERT_TRUE(daemon.wait_for_log(Regex("draining"), kLate));
  first.reset();
  EXPECT_EQ(receive_text(second.get(), 1, kLate), "?");
  EXPECT_TRUE(daemon.process().running());
  second.reset();
  EXPECT_EQ(daemon.process().wait(kLate), 0);
  EXPECT_EQ(connection_ends(daemon.log()).size(), 2U);
}

TEST_P(LimitsTest, IdleConnectionHoldsNoPipe) {
  constexpr std::uint64_t kStreamBytes = 4 << 20;
  const Listener upstream = listen_tcp();
  // The budget is one pipe. A connection that kept it would leave none for the next.
  Daemon daemon(route_arguments({GetParam(), "always"}, loopback_address(upstream.port),
                                {"--workers", "1", "--pipe-budget", "256"}));
  const std::size_t pipe_fds_before = daemon.pipe_fd_count();
  std::vector<Forwarded> idle;
  for (std::uint64_t i = 0; i < 20; ++i) {
    idle.push_back(forward(daemon.port(), upstream.fd.get()));
    const Forwarded& pair = idle.back();
    EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(i), kStreamBytes), "");
    EXPECT_EQ(transfer(pair.upstream.get(), pair.client.get(), Pattern(~i), kStreamBytes), "");
  }
  EXPECT_LE(daemon.pipe_fd_count(), pipe_fds_before + 2);
  EXPECT_EQ(count_lines(daemon.log(), Regex("copying_for_lack_of_pipes")), 0U);
  idle.clear();
  const auto ends = daemon.wait_for_ends(20, kLate);
  ASSERT_EQ(ends.size(), 20U);
  for (const ConnectionEnd& end : ends) {
    EXPECT_GT(end.spliced_to_upstream, kStreamBytes / 2) << end.line;
    EXPECT_GT(end.spliced_to_client, kStreamBytes / 2) << end.line;
  }
}

TEST_P(LimitsTest, IdleConnectionsCostLittleMemory) {
  if (std::getenv("SLUICE_OPTIMIZED") == nullptr) {
    GTEST_SKIP() << "the bound holds for optimized builds, which set SLUICE_OPTIMIZED";
  }
  if (sanitized()) GTEST_SKIP() << "a sanitizer's own memory is many times the bound";
  const std::size_t count = by_scale<std::size_t>(300, 3'000, 3'000);
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  if (files.rlim_cur < 2 * count + 200) GTEST_SKIP() << "too few descriptors are allowed here";

  const Listener upstream = listen_tcp();
  const TempDir folder;
  DaemonOptions options;
  options.binary = copy_of_daemon(folder);
  const Daemon daemon(arguments(loopback_address(upstream.port)), options);
  const auto exchange_a_byte = [](const Forwarded& pair) {
    ASSERT_TRUE(send_all(pair.client.get(), "?"));
    ASSERT_EQ(receive_text(pair.upstream.get(), 1, kLate), "?");
    ASSERT_TRUE(send_all(pair.upstream.get(), "!"));
    ASSERT_EQ(receive_text(pair.client.get(), 1, kLate), "!");
  };
  // Memory that the daemon allocates only once. They stay open, so that no later one reuses their
  // memory.
  std::vector<Forwarded> crowd;
  const auto add = [&](std::size_t more) {
    for (std::size_t i = 0; i < more; ++i) {
      crowd.push_back(forward(daemon.port(), upstream.fd.get()));
      ASSERT_NO_FATAL_FAILURE(exchange_a_byte(crowd.back()));
    }
  };
  ASSERT_NO_FATAL_FAILURE(add(50));
  ASSERT_TRUE(daemon.wait_until_quiet(kLate));
  const std::uint64_t before_bytes = daemon.pss_bytes();
  ASSERT_GT(before_bytes, 0U);
  ASSERT_NO_FATAL_FAILURE(add(count));
  ASSERT_TRUE(daemon.wait_until_quiet(kLate));
  const std::uint64_t after_bytes = daemon.pss_bytes();
  ASSERT_GT(after_bytes, before_bytes);
  const std::uint64_t each_bytes = (after_bytes - before_bytes) / count;
  std::printf("process memory of an idle connection: %llu bytes\n",
              static_cast<unsigned long long>(each_bytes));
  EXPECT_LE(each_bytes, GetParam() == "uring" ? kIdleBoundBytes : kIdleBoundBytesWithEpoll);
}

INSTANTIATE_TEST_SUITE_P(BothEngines, LimitsTest, testing::Values("uring", "epoll"),
                         [](const auto& about) { return about.param; });

}  // namespace
}  // namespace sluice::test
