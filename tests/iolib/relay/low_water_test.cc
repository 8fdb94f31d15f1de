// Which streams wait for more bytes at a time (SO_RCVLOWAT): those that move much and have their
// thread to themselves, or nearly so.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/iolib/relay/relay_fixture.h"

namespace sluice {
namespace {

using test::Pattern;
using test::PatternChecker;

// One turn takes it whole and counts as large. It is less than the low-water mark.
constexpr std::size_t kBurstBytes = Promotion::kLargeTurnBytes + Reactor::kReceiveBytes;
static_assert(kBurstBytes < static_cast<std::size_t>(Promotion::kLowWaterBytes));
// Enough to be heavy twice, after the first receives and turns.
constexpr int kRounds = 3 * Promotion::kHeavyAfter;

class LowWaterTest : public EngineTest {
 protected:
  // One direction, from the client.
  struct Stream {
    explicit Stream(RelaySession& its_session, Pattern pattern)
        : session(its_session), sent(pattern), received(pattern) {}
    RelaySession& session;
    Pattern sent;
    PatternChecker received;
    std::uint64_t sent_bytes = 0;
    int source = -1;  ///< the relay's own end, borrowed
  };

  void start_streams(std::size_t count, Duration idle_timeout = std::chrono::hours(1)) {
    for (std::size_t i = 0; i < count; ++i) {
      RelaySession& session =
          start({.idle_timeout = idle_timeout, .client = {.near_receive_bytes = 1 << 20}});
      streams_.emplace_back(session, Pattern(i));
      streams_.back().source =
          session.look([](Relay& relay) { return relay.to_upstream().source().fd(); }).value();
    }
  }
  // Sends `size` bytes to each stream on the loop's thread, which then finds them all at once.
  void send_to_each(std::size_t size) {
    std::string bytes(size, '\0');
    for (Stream& stream : streams_) {
      stream.sent.fill(stream.sent_bytes, std::as_writable_bytes(std::span(bytes)));
      stream.sent_bytes += size;
      ASSERT_TRUE(test::send_all(stream.session.client.get(), bytes));
    }
  }
  void receive_from_each(std::size_t size) {
    for (Stream& stream : streams_) {
      const std::uint64_t until = stream.received.received_bytes() + size;
      test::read_pattern(stream.session.upstream.get(), stream.received,
                         {.stop_after_bytes = until});
      ASSERT_EQ(stream.received.received_bytes(), until);
      ASSERT_EQ(stream.received.mismatch(), std::nullopt);
    }
  }
  // Sends many bursts to each stream.
  void stream_heavily() {
    loop_->call([this] { look_again(); });
    for (int i = 0; i < kRounds && !HasFatalFailure(); ++i) {
      loop_->call([this] { send_to_each(kBurstBytes); });
      receive_from_each(kBurstBytes);
    }
    looking_ = false;
    loop_->call([] {});
  }
  [[nodiscard]] static bool patient(const Stream& stream) {
    int bytes = 0;
    socklen_t size = sizeof bytes;
    EXPECT_EQ(::getsockopt(stream.source, SOL_SOCKET, SO_RCVLOWAT, &bytes, &size), 0);
    return bytes > 1;
  }
  [[nodiscard]] bool any_patient() const {
    return std::any_of(streams_.begin(), streams_.end(), patient);
  }

  std::vector<Stream> streams_;
  std::atomic<bool> seen_patient_{false};
  /// Called on the loop's thread, the first time that a stream is patient.
  std::function<void()> when_patient_;

 private:
  // Checks in every turn of the loop. The mark is set for only 300 µs, and no timer is served
  // before the mailbox of the next turn.
  void look_again() {
    if (any_patient() && !seen_patient_.exchange(true) && when_patient_) when_patient_();
    if (looking_) loop_->reactor().post([this] { look_again(); });
  }
  std::atomic<bool> looking_{true};
};

INSTANTIATE_TEST_SUITE_P(Engines, LowWaterTest, testing::Values(Engine::uring, Engine::asio),
                         name_of_engine);

TEST_P(LowWaterTest, AHeavyStreamAloneWaitsForMoreAtATime) {
  start_streams(1);
  stream_heavily();
  EXPECT_TRUE(seen_patient_);
}

TEST_P(LowWaterTest, SoDoAFewOnOneThread) {
  start_streams(Promotion::kFewStreams);
  stream_heavily();
  EXPECT_TRUE(seen_patient_);
}

TEST_P(LowWaterTest, InACrowdNobodyDoes) {
  start_streams(std::size_t{2} * Promotion::kFewStreams);
  stream_heavily();
  EXPECT_FALSE(seen_patient_);
}

TEST_P(LowWaterTest, WhoHardlyMovesAnythingDoesNot) {
  start_streams(1);
  for (int i = 0; i < kRounds; ++i) {
    loop_->call([this] { send_to_each(Reactor::kReceiveBytes); });
    ASSERT_NO_FATAL_FAILURE(receive_from_each(Reactor::kReceiveBytes));
    ASSERT_FALSE(any_patient());
  }
}

// The process sleeps while one byte is in the socket, unreported.
TEST_P(LowWaterTest, WhatStaysBelowTheMarkIsNotIdle) {
  constexpr std::chrono::seconds kIdleTimeout{1};
  start_streams(1, kIdleTimeout);
  when_patient_ = [&] {
    send_to_each(1);
    std::this_thread::sleep_for(kIdleTimeout);
  };
  stream_heavily();
  ASSERT_TRUE(seen_patient_);
  ASSERT_NO_FATAL_FAILURE(receive_from_each(1));
  EXPECT_FALSE(streams_[0].session.ended());
}

// Only a timer ends the wait for a mark that is not reached.
TEST_P(LowWaterTest, WhatStaysBelowTheMarkIsNotHeldBack) {
  start_streams(1);
  stream_heavily();
  ASSERT_TRUE(seen_patient_);
  for (const std::size_t size : {std::size_t{1}, kBurstBytes}) {
    send_to_each(size);
    ASSERT_NO_FATAL_FAILURE(receive_from_each(size));
    EXPECT_TRUE(test::wait_until([this] { return !any_patient(); }));
  }
  test::finish_sending(streams_[0].session.client.get());
  EXPECT_EQ(test::read_pattern(streams_[0].session.upstream.get(), streams_[0].received),
            test::Ending::eof);
}

}  // namespace
}  // namespace sluice
