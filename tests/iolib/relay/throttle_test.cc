// A direction whose bandwidth is limited.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "iolib/balance/bandwidth.h"
#include "tests/iolib/relay/move_fixture.h"
#include "tests/iolib/relay/relay_fixture.h"
#include "tests/iolib/relay/test_tap.h"
#include "tests/support/in_background.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using balance::burst_of;
using balance::SharedBandwidth;
using balance::Throttle;
using test::Ending;
using test::PatternChecker;

constexpr std::uint64_t kRate = 2 << 20;

/// A limit that lets nothing through for this long.
std::unique_ptr<Throttle> held_for(std::chrono::milliseconds time) {
  auto throttle = std::make_unique<Throttle>(kRate, nullptr);
  throttle->spend(Clock::now(), burst_of(kRate) + kRate * std::uint64_t(time.count()) / 1'000);
  return throttle;
}

/// How long at least `size` bytes take from a full bucket.
constexpr std::chrono::milliseconds least_time(std::uint64_t size) {
  return std::chrono::milliseconds(1'000 * (size - kRate / 10) / kRate);
}

class ThrottleTest : public RelayTest {
 protected:
  /// A relay that finds bytes at the client, and must wait for this long before it may read them.
  /// `ends`: both sides have already ended then.
  RelaySession& start_held(std::chrono::milliseconds time, SessionOptions options = {},
                           bool ends = false) {
    options.connected = [ends](RelaySession& session, int) {
      EXPECT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, kSent));
      if (!ends) return;
      test::finish_sending(session.client.get());
      test::finish_sending(session.upstream.get());
    };
    options.before = [time](Relay& relay) { relay.to_upstream().limit(held_for(time)); };
    return start(std::move(options));
  }
  void expect_waiting(RelaySession& session) {
    EXPECT_TRUE(test::wait_until([&] {
      return session.look([](Relay& relay) { return relay.to_upstream().gated(); }).value_or(false);
    }));
  }

  static constexpr std::uint64_t kSent = 30'000;
};

INSTANTIATE_TEST_SUITE_P(Modes, ThrottleTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

TEST_P(ThrottleTest, BothDirectionsKeepTheirLimitsAndLoseNothing) {
  constexpr std::uint64_t kSize = kRate / 4;
  TestTap seen(kToUpstream);
  const auto begin = Clock::now();
  RelaySession& session = start({.before = [&](Relay& relay) {
    relay.to_upstream().limit(std::make_unique<Throttle>(kRate, nullptr));
    relay.to_client().limit(std::make_unique<Throttle>(kRate, nullptr));
    relay.to_upstream().attach(seen);
  }});
  auto up = test::in_background(
      [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
  auto down = test::in_background(
      [&] { return send_in_pieces(session.upstream.get(), kToClient, kSize, test::seed() + 1); });
  auto at_client =
      test::in_background([&] { return read_whole(session.client.get(), kToClient, kSize); });
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, kSize), "");
  EXPECT_EQ(at_client.get(), "");
  EXPECT_TRUE(up.get() && down.get());
  EXPECT_GE(Clock::now() - begin, least_time(kSize));
  EXPECT_EQ(session.end(), EndReason::closed);
  EXPECT_TRUE(seen.content());
  EXPECT_EQ(seen.bytes, kSize);
  const bool spliced = session.report().spliced_bytes > 0;
  EXPECT_TRUE(splice() == SpliceMode::automatic || spliced == (splice() == SpliceMode::always));
}

TEST_P(ThrottleTest, NoTimeOutEndsBytesThatWaitForBandwidthAndTheFinFollowsThem) {
  RelaySession& session =
      start_held(250ms, {.idle_timeout = 100ms, .half_close_timeout = 100ms}, true);
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, kSent), "");
  EXPECT_EQ(session.end(), EndReason::closed);
}

TEST_P(ThrottleTest, NobodySpinsWhileBytesWait) {
  RelaySession& session = start_held(1h);
  expect_waiting(session);
  EXPECT_TRUE(loop_->sleeps());
  EXPECT_EQ(session.forwarded_to_upstream(), 0U);
  EXPECT_EQ(lent_pipes(), 0U);
  // The other direction is free.
  ASSERT_TRUE(test::send_pattern(session.upstream.get(), kToClient, 0, kSent));
  PatternChecker answer(kToClient);
  test::read_pattern(session.client.get(), answer, {.stop_after_bytes = kSent});
  EXPECT_EQ(answer.mismatch(), std::nullopt);
}

TEST_P(ThrottleTest, AResetOfTheTargetIsPassedOnAtOnce) {
  RelaySession& session = start_held(1h);
  expect_waiting(session);
  test::reset(std::move(session.upstream));
  EXPECT_EQ(session.end(), EndReason::upstream_reset);
  EXPECT_TRUE(test::wait_until([&] { return broken(session.client.get()); }));
}

TEST_P(ThrottleTest, WhatCameBeforeAResetOfTheSourceIsDeliveredBeforeIt) {
  RelaySession& session = start_held(150ms);
  test::reset(std::move(session.client));
  EXPECT_EQ(read_until(session.upstream.get(), kToUpstream, Ending::reset), kSent);
  EXPECT_EQ(session.end(), EndReason::client_reset);
}

TEST_P(ThrottleTest, StoppingEndsTheWait) {
  RelaySession& session = start_held(1h);
  expect_waiting(session);
  session.with([](Relay& relay) { relay.stop(EndReason::drain_timeout); });
  EXPECT_EQ(session.end(), EndReason::drain_timeout);
}

TEST_P(ThrottleTest, ALimitThatIsLiftedEndsTheWaitsOfAll) {
  SharedBandwidth shared(kRate);
  shared.charge(Clock::now(), burst_of(kRate) + kRate * 3'600);
  std::vector<RelaySession*> sessions;
  for (int i = 0; i < 3; ++i) {
    sessions.push_back(&start({.before = [&](Relay& relay) {
      relay.to_upstream().limit(std::make_unique<Throttle>(0, &shared));
    }}));
    ASSERT_TRUE(test::send_pattern(sessions.back()->client.get(), kToUpstream, 0, kSent));
    expect_waiting(*sessions.back());
  }
  shared.set(0);
  for (RelaySession* session : sessions) {
    test::finish_sending(session->client.get());
    EXPECT_EQ(read_whole(session->upstream.get(), kToUpstream, kSent), "");
    test::finish_sending(session->upstream.get());
    EXPECT_EQ(session->end(), EndReason::closed);
  }
}

TEST_P(ThrottleTest, WhatIsSentBackAndWhatGoesToADeviceIsLimitedToo) {
  constexpr std::uint64_t kSize = kRate / 6;
  for (const bool echo : {true, false}) {
    const auto begin = Clock::now();
    RelaySession& session =
        start({.echo = echo, .to_device = !echo, .before = [](Relay& relay) {
                 relay.to_upstream().limit(std::make_unique<Throttle>(kRate, nullptr));
               }});
    auto sender = test::in_background(
        [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
    EXPECT_EQ(read_whole(session.client.get(), kToUpstream, echo ? kSize : 0), "");
    EXPECT_TRUE(sender.get());
    EXPECT_EQ(session.end(), EndReason::closed);
    EXPECT_GE(Clock::now() - begin, least_time(kSize));
  }
}

class ThrottleMoveTest : public MoveTest {};
INSTANTIATE_TEST_SUITE_P(Modes, ThrottleMoveTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

TEST_P(ThrottleMoveTest, NoByteIsLostOrRepeatedWhenAStreamWithALimitMoves) {
  if (GetParam().splice == SpliceMode::never) GTEST_SKIP() << "never streams";
  constexpr std::uint64_t kFast = 64 << 20;
  SharedBandwidth shared(kFast);
  shared.charge(Clock::now(), burst_of(kFast));
  start([&](Relay& relay) {
    relay.to_upstream().limit(std::make_unique<Throttle>(kFast, &shared));
    relay.to_client().limit(std::make_unique<Throttle>(kFast, &shared));
  });
  stream_heavily();
  EXPECT_EQ(moves_, 1);
  answer_and_end();
}

}  // namespace
}  // namespace sluice
