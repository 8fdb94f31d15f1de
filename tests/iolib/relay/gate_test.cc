#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <thread>

#include "tests/iolib/relay/relay_fixture.h"
#include "tests/iolib/relay/test_tap.h"
#include "tests/support/in_background.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::Ending;
using test::Pattern;

// A direction that copies, behind a tap that holds its bytes back.
class GateTest : public RelayTest {
 protected:
  RelaySession& start_gated(SessionOptions options = {}) {
    tap_.hold_back_from = 0;
    tap_.wants_exact = true;
    options.before = [this](Relay& relay) { relay.to_upstream().attach(tap_); };
    return start(std::move(options));
  }
  /// Sends bytes [begin, end) of the pattern, and waits until the tap has seen them all.
  void gather(RelaySession& session, std::uint64_t begin, std::uint64_t end) {
    ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, begin, end - begin));
    ASSERT_TRUE(test::wait_until([&] { return seen() == end; }));
    EXPECT_EQ(held(session), end - session.forwarded_to_upstream());
  }
  void open_gate(RelaySession& session, std::uint64_t until = Tap::kNoLimit) {
    session.with([&](Relay& relay) {
      tap_.hold_back_from = until;
      relay.to_upstream().wake();
    });
  }
  [[nodiscard]] std::uint64_t seen() {
    return loop_->call([this] { return tap_.bytes; });
  }
  [[nodiscard]] static std::size_t held(RelaySession& session) {
    return session.look([](Relay& relay) { return relay.to_upstream().held_bytes(); }).value();
  }
  void expect_closed(RelaySession& session, std::uint64_t bytes) {
    EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, bytes), "");
    test::finish_sending(session.upstream.get());
    EXPECT_EQ(session.end(), EndReason::closed);
    EXPECT_TRUE(tap_.content());
    EXPECT_EQ(tap_.bytes, bytes);
  }

  // Takes many receives.
  static constexpr std::uint64_t kPart = 200'000;
  static_assert(2 * kPart < Pump::kMaxGatedBytes);

  TestTap tap_{kToUpstream};
};

INSTANTIATE_TEST_SUITE_P(Modes, GateTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

TEST_P(GateTest, ManyReceivesWaitForTheWatermarkTogether) {
  RelaySession& session = start_gated();
  gather(session, 0, kPart);
  EXPECT_EQ(session.forwarded_to_upstream(), 0U);
  open_gate(session, kPart);
  ASSERT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == kPart; }));
  EXPECT_EQ(held(session), 0U);
  gather(session, kPart, 2 * kPart);
  EXPECT_EQ(session.forwarded_to_upstream(), kPart);
  open_gate(session);
  test::finish_sending(session.client.get());
  expect_closed(session, 2 * kPart);
}

TEST_P(GateTest, NoMoreThanTheBoundIsGathered) {
  constexpr std::uint64_t kSize = 16 << 20;
  RelaySession& session = start_gated();
  auto sender = test::in_background(
      [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
  ASSERT_TRUE(test::wait_until(
      [&] { return seen() > Pump::kMaxGatedBytes - Reactor::kReceiveBytes && loop_->sleeps(); }));
  EXPECT_LE(held(session), Pump::kMaxGatedBytes);
  EXPECT_EQ(held(session), seen());
  open_gate(session);
  expect_closed(session, kSize);
  EXPECT_TRUE(sender.get());
}

TEST_P(GateTest, GathersAlsoForATapThatIsAskedWhenBytesAreThere) {
  tap_.stands = false;
  RelaySession& session = start_gated({.upstream = test::kSmallBuffers});
  gather(session, 0, kPart);
  open_gate(session);
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, kPart, 1000));
  test::finish_sending(session.client.get());
  expect_closed(session, kPart + 1000);
}

TEST_P(GateTest, TheWatermarkRisesByPartsWhileMoreIsGathered) {
  constexpr std::uint64_t kStep = 7000;
  RelaySession& session = start_gated();
  test::PatternChecker checker(kToUpstream);
  std::uint64_t sent = 0;
  for (std::uint64_t mark = kStep; mark < 2 * kPart; mark += kStep) {
    gather(session, sent, sent + 2 * kStep);
    sent += 2 * kStep;
    open_gate(session, mark);
    test::read_pattern(session.upstream.get(), checker, {.stop_after_bytes = mark});
    EXPECT_EQ(session.forwarded_to_upstream(), mark);
    if (sent - mark > 2 * kPart) break;
  }
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  test::finish_sending(session.client.get());
  open_gate(session);
  EXPECT_EQ(test::read_pattern(session.upstream.get(), checker), Ending::eof);
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  EXPECT_EQ(checker.received_bytes(), sent);
}

TEST_P(GateTest, NothingMoreIsReadWhenTheTargetTurnsOutToBeSlow) {
  RelaySession& session = start_gated({.upstream = test::kSmallBuffers});
  gather(session, 0, kPart);
  open_gate(session);
  EXPECT_TRUE(loop_->sleeps());
  const std::uint64_t held_before = held(session);
  EXPECT_GT(held_before, 0U);
  auto sender = test::in_background(
      [&] { return test::send_pattern(session.client.get(), kToUpstream, kPart, kPart); });
  EXPECT_TRUE(loop_->sleeps());
  EXPECT_EQ(seen(), kPart);
  EXPECT_EQ(held(session), held_before);
  test::PatternChecker checker(kToUpstream);
  test::read_pattern(session.upstream.get(), checker, {.stop_after_bytes = 2 * kPart});
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  EXPECT_TRUE(sender.get());
}

TEST_P(GateTest, TheEndWaitsBehindWhatWasGathered) {
  RelaySession& session = start_gated();
  gather(session, 0, kPart);
  test::finish_sending(session.client.get());
  EXPECT_TRUE(loop_->sleeps());
  EXPECT_EQ(loop_->call([this] { return tap_.eofs; }), 0);
  EXPECT_EQ(held(session), kPart);
  open_gate(session);
  expect_closed(session, kPart);
  EXPECT_EQ(tap_.eofs, 1);
}

TEST_P(GateTest, AResetWaitsBehindWhatWasGathered) {
  RelaySession& session = start_gated();
  gather(session, 0, kPart);
  test::reset(std::move(session.client));
  EXPECT_TRUE(loop_->sleeps());
  EXPECT_FALSE(session.ended());
  open_gate(session);
  EXPECT_EQ(read_until(session.upstream.get(), kToUpstream, Ending::reset), kPart);
  EXPECT_EQ(session.end(), EndReason::client_reset);
  EXPECT_EQ(tap_.resets, 1);
}

TEST_P(GateTest, AResetOfTheTargetEndsItAtOnce) {
  RelaySession& session = start_gated();
  gather(session, 0, kPart);
  test::reset(std::move(session.upstream));
  EXPECT_EQ(session.end(), EndReason::upstream_reset);
  EXPECT_EQ(read_until(session.client.get(), kToClient, Ending::reset), 0U);
  EXPECT_EQ(tap_.resets, 1);
  EXPECT_EQ(tap_.totals->received, kPart);
  EXPECT_EQ(tap_.totals->forwarded, 0U);
}

// The wake finds the reset in its own send, while a receive is in flight.
TEST_P(GateTest, AGateThatOpensOntoABrokenTargetIsToldOnce) {
  RelaySession& session = start_gated();
  gather(session, 0, kPart);
  session.with([&](Relay& relay) {
    test::reset(std::move(session.upstream));
    tap_.hold_back_from = Tap::kNoLimit;
    relay.to_upstream().wake();
  });
  EXPECT_EQ(session.end(), EndReason::upstream_reset);
  EXPECT_EQ(tap_.resets, 1);
  EXPECT_EQ(tap_.totals->forwarded, 0U);
}

TEST_P(GateTest, RestsWithWhatItGatheredAndGoesOn) {
  RelaySession& session = start_gated();
  gather(session, 0, kPart);
  session.with([](Relay& relay) { relay.to_upstream().pause(); });
  ASSERT_TRUE(test::wait_until(
      [&] { return session.look([](Relay& r) { return r.to_upstream().paused(); }).value(); }));
  open_gate(session, kPart);
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, kPart, 1000));
  EXPECT_TRUE(loop_->sleeps());
  EXPECT_EQ(held(session), kPart);
  EXPECT_EQ(seen(), kPart);
  session.with([](Relay& relay) { relay.to_upstream().start(); });
  ASSERT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == kPart; }));
  open_gate(session);
  test::finish_sending(session.client.get());
  expect_closed(session, kPart + 1000);
}

TEST_P(GateTest, ADetachedGateLetsGoOfWhatItGathered) {
  RelaySession& session = start_gated();
  gather(session, 0, kPart);
  session.with([this](Relay& relay) { relay.to_upstream().detach(tap_); });
  ASSERT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == kPart; }));
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, kPart, kPart));
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, 2 * kPart), "");
  EXPECT_EQ(loop_->call([this] { return tap_.bytes; }), kPart);
}

TEST_P(GateTest, TimeBehindAGateIsNotIdle) {
  constexpr Duration kShort = 200ms;
  RelaySession& session = start_gated({.idle_timeout = kShort});
  gather(session, 0, 1000);
  std::this_thread::sleep_for(3 * kShort);
  EXPECT_FALSE(session.ended());
  open_gate(session);
  EXPECT_EQ(session.end(), EndReason::idle_timeout);
  EXPECT_EQ(read_until(session.upstream.get(), kToUpstream, Ending::reset), 1000U);
}

}  // namespace
}  // namespace sluice
