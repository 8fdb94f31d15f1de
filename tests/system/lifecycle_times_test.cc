// Time-outs of connections.

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/silence.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// A timer may fire this much early: the daemon reads the clock once a turn.
constexpr milliseconds kSlack{20};

Ending ending_of(int fd) {
  std::byte byte{};
  return receive_some(fd, {&byte, 1}, kLate).ending;
}

class TimeoutTest : public testing::TestWithParam<std::string> {
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
  /// Sends a byte now and then from one end to the other for three time-outs. False if the machine
  /// stood still for so long that the connection may have ended.
  [[nodiscard]] static bool keep_busy(int from, int to, Silence& silence) {
    const auto end = steady_clock::now() + 3 * kTimeout;
    bool arrives = true;
    while (steady_clock::now() < end && arrives) {
      std::this_thread::sleep_for(milliseconds(50));
      silence.sending();
      arrives = send_all(from, "x") && receive_text(to, 1, kLate) == "x";
      silence.looked();
    }
    if (silence.reached(kTimeout)) return false;
    EXPECT_TRUE(arrives);
    return true;
  }
  void expect_one_end(const Daemon& daemon, const std::string& reason) const {
    const auto ends = daemon.wait_for_ends(1, kLate);
    ASSERT_EQ(ends.size(), 1U) << daemon.log();
    EXPECT_EQ(ends[0].reason, reason);
  }

  static constexpr milliseconds kTimeout{2'000};
  Listener upstream_ = listen_tcp();
};

TEST_P(TimeoutTest, IdleConnectionIsResetBothWays) {
  const Daemon daemon(arguments(loopback_address(upstream_.port), {"--idle-timeout", "2s"}));
  const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  ASSERT_TRUE(send_all(pair.client.get(), "x"));
  ASSERT_EQ(receive_text(pair.upstream.get(), 1, kLate), "x");
  const auto idle_since = steady_clock::now();
  EXPECT_EQ(ending_of(pair.client.get()), Ending::reset);
  EXPECT_GE(steady_clock::now() - idle_since, kTimeout - kSlack);
  EXPECT_EQ(ending_of(pair.upstream.get()), Ending::reset);
  expect_one_end(daemon, "idle_timeout");
}

TEST_P(TimeoutTest, BytesInOneDirectionKeepAConnection) {
  const Daemon daemon(arguments(loopback_address(upstream_.port), {"--idle-timeout", "2s"}));
  Silence silence;
  const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  if (!keep_busy(pair.upstream.get(), pair.client.get(), silence)) {
    GTEST_SKIP() << "the machine stood still";
  }
  EXPECT_EQ(ending_of(pair.client.get()), Ending::reset);
  expect_one_end(daemon, "idle_timeout");
}

TEST_P(TimeoutTest, HalfClosedConnectionIsResetBothWays) {
  for (const bool client_ends : {true, false}) {
    const Daemon daemon(
        arguments(loopback_address(upstream_.port), {"--half-close-timeout", "2s"}));
    const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
    const int ends_first = client_ends ? pair.client.get() : pair.upstream.get();
    const int silent = client_ends ? pair.upstream.get() : pair.client.get();
    // Without an end the connection stays.
    EXPECT_FALSE(readable_within(silent, kTimeout + kTimeout / 4));
    const auto half_closed = steady_clock::now();
    finish_sending(ends_first);
    EXPECT_EQ(ending_of(silent), Ending::eof);
    EXPECT_EQ(ending_of(ends_first), Ending::reset);
    EXPECT_GE(steady_clock::now() - half_closed, kTimeout - kSlack);
    // The reset comes after the FIN, so only a send notices it.
    EXPECT_TRUE(wait_until([&] { return !send_all(silent, "x"); }, kLate));
    expect_one_end(daemon, "half_close_timeout");
  }
}

TEST_P(TimeoutTest, BytesInTheDirectionThatIsLeftKeepAConnection) {
  const Daemon daemon(arguments(loopback_address(upstream_.port), {"--half-close-timeout", "2s"}));
  const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  Silence silence;
  finish_sending(pair.client.get());
  EXPECT_EQ(ending_of(pair.upstream.get()), Ending::eof);
  if (!keep_busy(pair.upstream.get(), pair.client.get(), silence)) {
    GTEST_SKIP() << "the machine stood still";
  }
  finish_sending(pair.upstream.get());
  silence.looked();
  if (silence.reached(kTimeout)) GTEST_SKIP() << "the machine stood still";
  EXPECT_EQ(ending_of(pair.client.get()), Ending::eof);
  expect_one_end(daemon, "closed");
}

// More connections than one call completes.
TEST_P(TimeoutTest, WhatCameWhileTheProcessWasStoppedIsNotLate) {
  constexpr milliseconds kShort{1'000};
  constexpr std::size_t kConnections = 60;
  Daemon daemon(arguments(loopback_address(upstream_.port), {"--idle-timeout", "1s"}));
  Silence silence;
  std::vector<Forwarded> pairs;
  while (pairs.size() < kConnections) pairs.push_back(forward(daemon.port(), upstream_.fd.get()));
  daemon.process().signal(SIGSTOP);
  silence.looked();
  for (const Forwarded& pair : pairs) EXPECT_TRUE(send_all(pair.client.get(), "x"));
  std::this_thread::sleep_for(kShort);
  daemon.process().signal(SIGCONT);
  if (silence.reached(kShort)) GTEST_SKIP() << "the machine stood still";
  for (const Forwarded& pair : pairs) EXPECT_EQ(receive_text(pair.upstream.get(), 1, kLate), "x");
}

INSTANTIATE_TEST_SUITE_P(BothEngines, TimeoutTest, testing::Values("uring", "epoll"),
                         [](const auto& about) { return about.param; });

}  // namespace
}  // namespace sluice::test
