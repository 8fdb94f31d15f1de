// If the kernel or the budget refuses pipes, or the kernel refuses io_uring, the daemon takes the
// next best way and reports that once. No byte is lost.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kPipedBytes = 8 << 20;
constexpr const char* kOrdinaryUser = "nobody";

std::size_t count_shortages(const Daemon& daemon) {
  return count_lines(daemon.log(), Regex("copying_for_lack_of_pipes"));
}

/// One line at once, then one after 10 s and fewer later, while the shortage lasts. `since`: the
/// daemon's start.
void expect_lines(std::size_t lines, std::chrono::steady_clock::time_point since) {
  EXPECT_GE(lines, 1U);
  EXPECT_LE(lines, 1U + static_cast<std::size_t>((std::chrono::steady_clock::now() - since) /
                                                 std::chrono::seconds(10)));
}

/// One connection that moves kPipedBytes each way. Returns its end as logged.
ConnectionEnd stream_both_ways(const Daemon& daemon, int upstream, std::uint64_t seed) {
  const std::size_t ends_before = connection_ends(daemon.log()).size();
  Forwarded pair = forward(daemon.port(), upstream);
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(seed), kPipedBytes), "");
  EXPECT_EQ(transfer(pair.upstream.get(), pair.client.get(), Pattern(~seed), kPipedBytes), "");
  pair = {};
  const auto ends = daemon.wait_for_ends(ends_before + 1, kLate);
  if (ends.size() != ends_before + 1) {
    ADD_FAILURE() << "not logged as ended: " << daemon.log();
    return {};
  }
  EXPECT_EQ(ends.back().to_upstream, kPipedBytes);
  EXPECT_EQ(ends.back().to_client, kPipedBytes);
  return ends.back();
}

std::uint64_t spliced_bytes(const ConnectionEnd& end) {
  return end.spliced_to_upstream + end.spliced_to_client;
}

/// A stream whose reader does not read.
struct Stalled {
  Forwarded pair;
  std::uint64_t sent_bytes = 0;
};

/// Sends until the buffers are full. The daemon finds many bytes at once, so its pipe is well
/// filled when it has to wait. A pipe with few bytes in it would be returned.
Stalled stall(Daemon& daemon, int upstream, int receive_buffer_bytes) {
  Stalled stream{
      forward(daemon.port(), upstream, {}, {.receive_buffer_bytes = receive_buffer_bytes})};
  daemon.process().signal(SIGSTOP);
  {
    const std::jthread sender([&] {
      stream.sent_bytes = send_until_full(stream.pair.client.get(), Pattern(1),
                                          std::uint64_t{1} << 30, milliseconds(1'000));
    });
    std::this_thread::sleep_for(milliseconds(200));
    daemon.process().signal(SIGCONT);
  }
  // By now a pipe with few bytes in it was returned.
  std::this_thread::sleep_for(milliseconds(300));
  static_cast<void>(daemon.wait_until_quiet(kLate));
  return stream;
}

TEST(PipeShortageTest, StreamsBeyondThePipeBudgetAreCopied) {
  const Listener upstream = listen_tcp();
  // The slots of one pipe, and one worker: another worker could have the pipe idle.
  const auto began = std::chrono::steady_clock::now();
  Daemon daemon(route_arguments({"auto", "always"}, loopback_address(upstream.port),
                                {"--workers", "1", "--pipe-budget", "256"}));
  // The fill of a waiting stream's pipe is random, so each try has another buffer size.
  Stalled stalled;
  std::size_t connections = 0;
  for (int tries = 1;; ++tries) {
    stalled = stall(daemon, upstream.fd.get(), 100'000 + 37'000 * tries);
    ++connections;
    if (spliced_bytes(stream_both_ways(daemon, upstream.fd.get(), 2)) == 0) break;
    ASSERT_LT(tries, 30) << "no stalled stream keeps its pipe";
    stalled.pair = {};
    ASSERT_EQ(daemon.wait_for_ends(++connections, kLate).size(), connections);
  }

  for (std::uint64_t i = 100; i < 103; ++i) {
    EXPECT_EQ(spliced_bytes(stream_both_ways(daemon, upstream.fd.get(), i)), 0U);
  }
  expect_lines(count_shortages(daemon), began);
  EXPECT_EQ(count_lines(daemon.log(), Regex("copying_for_lack_of_pipes.*--pipe-budget")),
            count_shortages(daemon));

  // The stalled stream has lost nothing. Afterwards its pipe is free for others.
  finish_sending(stalled.pair.client.get());
  PatternChecker received{Pattern(1)};
  EXPECT_EQ(read_pattern(stalled.pair.upstream.get(), received, {.timeout = kLate}), Ending::eof);
  EXPECT_FALSE(received.mismatch().has_value());
  EXPECT_EQ(received.received_bytes(), stalled.sent_bytes);
  stalled.pair = {};
  connections += 1 + 3;
  ASSERT_EQ(daemon.wait_for_ends(connections, kLate).size(), connections);
  EXPECT_GT(spliced_bytes(stream_both_ways(daemon, upstream.fd.get(), 200)), 0U);
  EXPECT_EQ(daemon.terminate(), 0);
}

/// Creates pipes that belong to a user, until his quota is used up.
class QuotaFiller {
 public:
  explicit QuotaFiller(const passwd& user) {
    // The kernel counts by the thread's user. A thread that has changed its user cannot change
    // back, so it ends.
    std::thread([&] {
      if (::syscall(SYS_setresgid, user.pw_gid, user.pw_gid, user.pw_gid) == 0 &&
          ::syscall(SYS_setresuid, user.pw_uid, user.pw_uid, user.pw_uid) == 0) {
        fill();
      }
    }).join();
    // Changing the user clears this flag, which LeakSanitizer needs.
    ::prctl(PR_SET_DUMPABLE, 1);
  }

  [[nodiscard]] bool full() const { return full_; }
  void release() { ends_.clear(); }

 private:
  void fill() {
    constexpr int kPipeBytes = 1 << 20;
    while (ends_.size() < 4'000 && !full_) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) return;
      ends_.emplace_back(ends[0]);
      ends_.emplace_back(ends[1]);
      // Beyond the quota a new pipe has two slots and cannot grow. A smaller size may still fit.
      int size_bytes = kPipeBytes;
      while (size_bytes >= 8192 && ::fcntl(ends[0], F_SETPIPE_SZ, size_bytes) < 0) size_bytes /= 2;
      full_ = ::fcntl(ends[0], F_GETPIPE_SZ) <= 8192;
    }
  }

  std::vector<OwnedFd> ends_;
  bool full_ = false;
};

TEST(PipeShortageTest, OrdinaryUserBeyondThePipeQuotaCopies) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const passwd* user = ::getpwnam(kOrdinaryUser);
  if (user == nullptr) GTEST_SKIP() << "there is no user " << kOrdinaryUser;
  if (read_text("/proc/sys/fs/pipe-user-pages-soft") == "0\n") {
    GTEST_SKIP() << "there is no quota here (fs.pipe-user-pages-soft)";
  }
  const Listener upstream = listen_tcp();
  const TempDir folder;
  DaemonOptions options;
  options.binary = copy_of_daemon(folder);
  options.process.user = kOrdinaryUser;
  QuotaFiller filler(*user);
  ASSERT_TRUE(filler.full());
  const auto began = std::chrono::steady_clock::now();
  Daemon daemon(route_arguments({"auto", "always"}, loopback_address(upstream.port)), options);

  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(spliced_bytes(stream_both_ways(daemon, upstream.fd.get(), i)), 0U);
  }
  const std::size_t shortages = count_shortages(daemon);
  expect_lines(shortages, began);
  EXPECT_EQ(count_lines(daemon.log(), Regex("copying_for_lack_of_pipes.*pipe-user-pages-soft")),
            shortages);

  // The daemon tries again, and gets its pipes when the quota has room.
  filler.release();
  EXPECT_GT(spliced_bytes(stream_both_ways(daemon, upstream.fd.get(), 3)), 0U);
  expect_lines(count_shortages(daemon), began);
  EXPECT_EQ(daemon.terminate(), 0);
}

TEST(PipeShortageTest, OrdinaryUserWhoAsksForTooLargePipesHasTheLargestAndIsTold) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  if (::getpwnam(kOrdinaryUser) == nullptr) GTEST_SKIP() << "there is no user " << kOrdinaryUser;
  if (read_text("/proc/sys/fs/pipe-max-size") != "1048576\n") {
    GTEST_SKIP() << "the largest pipe is not the usual one (fs.pipe-max-size)";
  }
  const Listener upstream = listen_tcp();
  const TempDir folder;
  DaemonOptions options;
  options.binary = copy_of_daemon(folder);
  options.process.user = kOrdinaryUser;
  Daemon daemon(route_arguments({"auto", "always"}, loopback_address(upstream.port),
                                {"--pipe-size", "16MiB"}),
                options);
  EXPECT_GT(spliced_bytes(stream_both_ways(daemon, upstream.fd.get(), 1)), 0U);
  EXPECT_EQ(daemon.terminate(), 0);
  EXPECT_EQ(count_lines(daemon.log(), Regex("pipes_smaller granted=1MiB asked=16MiB ")), 1U)
      << daemon.log();
}

TEST(EngineTest, WithoutIoUringEpollServesAndSaysSoOnce) {
  const Listener upstream = listen_tcp();
  DaemonOptions options;
  options.process.forbid_io_uring = true;
  Daemon daemon({"--listen", "127.0.0.1:0", "--to", loopback_address(upstream.port), "--workers",
                 "2", "--pipe-size", "1MiB"},
                options);
  ASSERT_TRUE(daemon.wait_for_log(Regex("started.* engine=epoll")));
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(stream_both_ways(daemon, upstream.fd.get(), i).reason, "closed");
  }
  EXPECT_EQ(daemon.terminate(), 0);
  EXPECT_EQ(count_lines(daemon.log(), Regex("io_uring")), 1U) << daemon.log();
  EXPECT_EQ(count_lines(daemon.log(), Regex("engine_fallback.*io_uring.*not permitted")), 1U);
}

TEST(EngineTest, InsistingOnIoUringWhereItIsRefusedFails) {
  ProcessOptions options;
  options.forbid_io_uring = true;
  EXPECT_EQ(refusal({"--listen", "127.0.0.1:0", "--to", "echo:", "--engine", "uring"}, 1,
                    {"--engine uring", "not permitted"}, options),
            "");
  EXPECT_EQ(refusal({"--listen", "127.0.0.1:0", "--to", "echo:", "--engine", "uring", "--check"}, 1,
                    {"--engine uring", "not permitted"}, options),
            "");
}

TEST(EngineTest, IoUringIsTakenWhereItIsAllowed) {
  if (!io_uring_available()) GTEST_SKIP() << "the kernel refuses io_uring here";
  const Daemon daemon({"--listen", "127.0.0.1:0", "--to", "echo:"});
  EXPECT_TRUE(daemon.wait_for_log(Regex("started.* engine=uring")));
  EXPECT_EQ(count_lines(daemon.log(), Regex("engine_fallback")), 0U);
}

}  // namespace
}  // namespace sluice::test
