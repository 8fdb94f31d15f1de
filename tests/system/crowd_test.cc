// Thousands of connections. Each is served and verified. Afterwards the daemon has as many
// descriptors, and about as much memory, as before.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include "iolib/mirror/mirror.h"
#include "iolib/mirror/pace.h"
#include "tests/support/pattern.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/mirror_server.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;

/// The allocator's own reserves may stay. A leak of one kilobyte for each of 10,000 connections
/// would exceed this.
constexpr std::uint64_t kMemoryBoundBytes = 8 << 20;
/// Process memory for each idle connection. The goal is 1,000; LimitsTest checks that.
constexpr std::uint64_t kIdleBoundBytes = 2'500;

/// The beginning of a short connection: it announces the bytes that follow, and the answer.
struct Request {
  std::uint64_t seed = 0;
  std::uint64_t size_bytes = 0;
};

/// Answers each request with the same number of bytes of another pattern, on a few threads.
class Answerer {
 public:
  explicit Answerer(int listener) {
    for (int i = 0; i < 4; ++i) threads_.emplace_back([this, listener] { serve(listener); });
  }
  ~Answerer() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  Answerer(const Answerer&) = delete;
  Answerer& operator=(const Answerer&) = delete;

  [[nodiscard]] std::uint64_t wrong() const { return wrong_; }

 private:
  void serve(int listener) {
    set_nonblocking(listener, true);
    while (!stopping_) {
      if (!readable_within(listener, milliseconds(20))) continue;
      const OwnedFd connection(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
      if (connection) answer(connection.get());
    }
  }

  void answer(int fd) {
    Request request;
    std::size_t got = 0;
    const auto bytes = std::as_writable_bytes(std::span(&request, 1));
    while (got < bytes.size()) {
      const Received received = receive_some(fd, bytes.subspan(got));
      if (received.ending != Ending::open) return;
      got += received.bytes;
    }
    PatternChecker body{Pattern(request.seed)};
    const Ending ending = read_pattern(fd, body, {.stop_after_bytes = request.size_bytes});
    if (body.mismatch()) ++wrong_;
    if (ending != Ending::open) return;
    // A client that has reset takes no answer. One that wants the answer counts its bytes.
    static_cast<void>(send_pattern(fd, Pattern(request.seed + 1), 0, request.size_bytes));
  }

  std::atomic<bool> stopping_ = false;
  std::atomic<std::uint64_t> wrong_ = 0;
  std::vector<std::thread> threads_;
};

/// One whole connection. True if the answer was right, or was not waited for.
bool ask(std::uint16_t port, std::mt19937_64& random) {
  const Request request{random(), 1 + random() % 2'000};
  OwnedFd fd = connect_tcp(port);
  bool sent = send_all(fd.get(), std::as_bytes(std::span(&request, 1)));
  sent = sent && send_pattern(fd.get(), Pattern(request.seed), 0, request.size_bytes);
  if (random() % 4 == 0) {
    reset(std::move(fd));
    return true;
  }
  if (random() % 2 == 0) finish_sending(fd.get());
  PatternChecker answer{Pattern(request.seed + 1)};
  const Ending ending = read_pattern(fd.get(), answer);
  return sent && ending == Ending::eof && !answer.mismatch() &&
         answer.received_bytes() == request.size_bytes;
}

/// Asks `count` times from a few threads. Returns the number of wrong answers.
std::uint64_t ask_often(std::uint16_t port, int count) {
  constexpr int kThreads = 4;
  std::atomic<std::uint64_t> wrong = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&wrong, port, count, i] {
      std::mt19937_64 random(seed() + static_cast<std::uint64_t>(i));
      for (int n = 0; n < count / kThreads; ++n) wrong += ask(port, random) ? 0U : 1U;
    });
  }
  for (std::thread& thread : threads) thread.join();
  return wrong;
}

class CrowdTest : public ForwardingTest {
 protected:
  static constexpr int kFirst = 2'000;
  const int many_ = by_scale(1'000, 5'000, 1'000'000);  ///< SLUICE_LONG=1: a million

  /// Waits until the daemon has released everything, then compares its memory.
  void expect_memory_as_before(std::uint64_t before_bytes) {
    ASSERT_TRUE(wait_until([&] { return descriptors() == descriptors_before_; }));
    const std::uint64_t after_bytes = daemon_->pss_bytes();
    std::printf("memory before: %llu KiB, after: %llu KiB\n",
                static_cast<unsigned long long>(before_bytes / 1024),
                static_cast<unsigned long long>(after_bytes / 1024));
    if (!sanitized()) {
      EXPECT_LT(after_bytes, before_bytes + kMemoryBoundBytes);
    }
  }

  /// Makes kFirst and many_ connections, all of which must be served, with a mirror that reads
  /// nothing and keeps `keeps` streams. Returns how many streams the mirror has accepted.
  std::uint64_t mirror_to_one_that_keeps(std::size_t keeps, const DaemonOptions& options = {}) {
    constexpr std::uint64_t kBuffers = 4 << 20;
    StuckServer stuck(keeps, 2 * std::chrono::duration_cast<milliseconds>(mirror::Mirror::kAtOnce));
    start({"--mirror", stuck.address(), "--workers", "2", "--mirror-buffers", "2MiB"}, options);
    const Answerer answerer(upstream_.fd.get());
    EXPECT_EQ(ask_often(daemon_->port(), kFirst), 0U);
    const std::uint64_t before_bytes = daemon_->pss_bytes();
    EXPECT_EQ(ask_often(daemon_->port(), many_), 0U);
    EXPECT_EQ(answerer.wrong(), 0U);
    const std::uint64_t accepted = stuck.accepted();
    // Only the streams that it keeps are left, and those that may wait.
    EXPECT_TRUE(wait_until([&] { return descriptors() <= descriptors_before_ + keeps; }));
    if (!sanitized()) {
      EXPECT_LT(daemon_->pss_bytes(), before_bytes + kBuffers + kMemoryBoundBytes);
    }
    stuck.stop();
    expect_memory_as_before(before_bytes);
    return accepted;
  }
};

TEST_P(CrowdTest, TenThousandShortConnections) {
  const int count = by_scale(1'000, 10'000, 100'000);
  start();
  const Answerer answerer(upstream_.fd.get());
  EXPECT_EQ(ask_often(daemon_->port(), count / 10), 0U);
  ASSERT_TRUE(wait_until([&] { return descriptors() == descriptors_before_; }));
  const std::uint64_t before_bytes = daemon_->pss_bytes();
  EXPECT_EQ(ask_often(daemon_->port(), count), 0U);
  EXPECT_EQ(answerer.wrong(), 0U);
  expect_memory_as_before(before_bytes);
}

// Each stream's end shows that the mirror lives; it comes late enough not to count as a failure.
TEST_P(CrowdTest, ManyShortConnectionsWithAMirrorThatNeverReads) {
  EXPECT_GT(mirror_to_one_that_keeps(400), static_cast<std::uint64_t>(many_) / 2);
}

class HungMirrorTest : public CrowdTest {};
INSTANTIATE_TEST_SUITE_P(EveryEngine, HungMirrorTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

// The mirror only accepts. It resets streams to make room for more, but only those that the daemon
// has already given up. Connections may cost as much as its places allow within the drain time of
// 10 s.
TEST_P(HungMirrorTest, ManyShortConnections) {
  constexpr rlim_t kDescriptors = 8'000;
  constexpr double kPlaces = kDescriptors / 4.0;
  DaemonOptions few;
  few.process.max_open_files = kDescriptors;
  const auto began = std::chrono::steady_clock::now();
  const std::uint64_t accepted = mirror_to_one_that_keeps(12'000, few);
  const double drain_times =
      (std::chrono::steady_clock::now() - began) / std::chrono::duration<double>(10);
  EXPECT_GT(accepted, 0U);
  // A quarter of the clients reset, which needs no drain time, so each lets another stream go.
  constexpr double kStay = 0.75;
  EXPECT_LT(static_cast<double>(accepted),
            (drain_times * kPlaces + 2 * mirror::Pace::kBurst) / kStay);
}

TEST_P(CrowdTest, TwoThousandIdleConnections) {
  const std::size_t count = by_scale<std::size_t>(300, 2'000, 4'000);
  start();
  std::vector<Forwarded> crowd;
  const auto exchange_a_byte = [](Forwarded& pair) {
    ASSERT_TRUE(send_all(pair.client.get(), "?"));
    ASSERT_EQ(receive_text(pair.upstream.get(), 1), "?");
    ASSERT_TRUE(send_all(pair.upstream.get(), "!"));
    ASSERT_EQ(receive_text(pair.client.get(), 1), "!");
  };
  // Makes the allocations that the daemon needs only once.
  for (int i = 0; i < 50; ++i) {
    Forwarded pair = forward_one();
    ASSERT_NO_FATAL_FAILURE(exchange_a_byte(pair));
  }
  ASSERT_TRUE(wait_until([&] { return descriptors() == descriptors_before_; }));
  const std::uint64_t before_bytes = daemon_->pss_bytes();
  for (std::size_t i = 0; i < count; ++i) {
    crowd.push_back(forward_one());
    ASSERT_NO_FATAL_FAILURE(exchange_a_byte(crowd.back()));
  }
  EXPECT_TRUE(daemon_->wait_until_quiet());
  EXPECT_EQ(descriptors(), descriptors_before_ + 2 * count);
  EXPECT_LT(daemon_->pipe_fd_count(), count / 10) << "idle connections hold pipes";
  const std::uint64_t grown_to_bytes = std::max(daemon_->pss_bytes(), before_bytes);
  const std::uint64_t each_bytes = (grown_to_bytes - before_bytes) / count;
  std::printf("process memory of an idle connection: %llu bytes\n",
              static_cast<unsigned long long>(each_bytes));
  if (!sanitized()) {
    EXPECT_LT(each_bytes, kIdleBoundBytes);
  }
  // They are idle, not dead.
  for (Forwarded& pair : crowd) ASSERT_NO_FATAL_FAILURE(exchange_a_byte(pair));
  crowd.clear();
  expect_memory_as_before(before_bytes);
}

INSTANTIATE_TEST_SUITE_P(EveryMode, CrowdTest, testing::ValuesIn(every_mode()), name_of_mode);

}  // namespace
}  // namespace sluice::test
