#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <string>

#include "iolib/relay/tap_set.h"
#include "tests/iolib/relay/relay_fixture.h"
#include "tests/iolib/relay/test_tap.h"
#include "tests/support/in_background.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::Ending;
using test::Pattern;

// Taps are attached and detached, and connections end while taps are attached.
class TapChangeTest : public RelayTest {
 protected:
  /// Taps outlive the relays, also when a test fails in the middle.
  TestTap& make_tap(Pattern pattern) { return taps_.emplace_back(pattern); }
  /// Runs `middle` after about half of a stream, and checks that the whole stream arrives.
  template <class Middle>
  void in_the_middle(RelaySession& session, Middle middle) {
    auto sender = test::in_background(
        [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
    test::PatternChecker checker(kToUpstream);
    test::read_pattern(session.upstream.get(), checker, {.stop_after_bytes = kSize / 2});
    middle();
    EXPECT_EQ(test::read_pattern(session.upstream.get(), checker), Ending::eof);
    EXPECT_EQ(checker.mismatch(), std::nullopt);
    EXPECT_EQ(checker.received_bytes(), kSize);
    EXPECT_TRUE(sender.get());
    test::finish_sending(session.upstream.get());
    EXPECT_EQ(session.end(), EndReason::closed);
  }
  /// Buffers that hold far less than half a stream, so that there is a middle.
  static SessionOptions modest() {
    constexpr test::PairOptions kModest{65'536, 65'536, 65'536, 65'536};
    return {.client = kModest, .upstream = kModest};
  }
  SessionOptions tapped(TestTap& tap, TestTap* second = nullptr) {
    SessionOptions options = modest();
    options.before = [this, &tap, second](Relay& relay) {
      pump_ = &relay.to_upstream();
      relay.to_upstream().attach(tap);
      if (second != nullptr) relay.to_upstream().attach(*second);
    };
    return options;
  }
  /// Only for taps, on the loop's thread.
  Pump& pump() { return *pump_; }

  static constexpr std::uint64_t kSize = 4 << 20;

 private:
  Pump* pump_ = nullptr;  ///< used on the loop's thread only
  std::deque<TestTap> taps_;
};

INSTANTIATE_TEST_SUITE_P(Modes, TapChangeTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

// --- Coming

TEST_P(TapChangeTest, ATapAttachedInTheMiddleSeesWhatIsReceivedFromThenOn) {
  TestTap& tap = make_tap(kToUpstream);
  RelaySession& session = start(modest());
  std::uint64_t received = 0;
  in_the_middle(session, [&] {
    session.with([&](Relay& relay) {
      received = relay.to_upstream().received_bytes();
      relay.to_upstream().attach(tap);
    });
  });
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.first, received);
  EXPECT_EQ(tap.bytes, kSize - received);
  EXPECT_EQ(tap.eofs, 1);
}

TEST_P(TapChangeTest, ATapAttachedWhileBytesAreHeldSeesOnlyWhatComesBehindThem) {
  TestTap& tap = make_tap(kToUpstream);
  RelaySession& session = start({.client = test::kSmallBuffers, .upstream = test::kSmallBuffers});
  const std::uint64_t sent =
      test::send_until_full(session.client.get(), kToUpstream, 64 << 20, 50ms);
  std::uint64_t received = 0;
  session.with([&](Relay& relay) {
    EXPECT_GT(relay.to_upstream().held_bytes(), 0U);
    received = relay.to_upstream().received_bytes();
    relay.to_upstream().attach(tap);
  });
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, sent), "");
  test::finish_sending(session.upstream.get());
  EXPECT_EQ(session.end(), EndReason::closed);
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.bytes, sent - received);
}

TEST_P(TapChangeTest, ATapAttachedWhileTheDirectionWaitsIsAskedBeforeItGetsAnything) {
  TestTap& tap = make_tap(kToUpstream);
  tap.can_take = 10;
  RelaySession& session = start();
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 100));
  ASSERT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == 100; }));
  session.with([&](Relay& relay) { relay.to_upstream().attach(tap); });
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 100, 1000));
  ASSERT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() >= 110; }));
  EXPECT_TRUE(loop_->sleeps());
  EXPECT_EQ(loop_->call([&] { return tap.bytes; }), 10U);
  EXPECT_TRUE(loop_->call([&] { return tap.content(); }));
}

TEST_P(TapChangeTest, ATapAttachedByAnotherTapComesBehindWhatThatOneSaw) {
  TestTap& first = make_tap(kToUpstream);
  TestTap& second = make_tap(kToUpstream);
  bool attached = false;
  first.at_append = [&] {
    if (first.next > kSize / 4 && !std::exchange(attached, true)) pump().attach(second);
  };
  in_the_middle(start(tapped(first)), [] {});
  EXPECT_TRUE(first.content() && second.content());
  EXPECT_EQ(first.bytes, kSize);
  ASSERT_TRUE(second.first.has_value());
  EXPECT_EQ(second.bytes, kSize - *second.first);
}

// --- Going

TEST_P(TapChangeTest, ATapDetachedInTheMiddleSeesNoMore) {
  TestTap& tap = make_tap(kToUpstream);
  TestTap& stays = make_tap(kToUpstream);
  RelaySession& session = start(tapped(tap, &stays));
  std::uint64_t bytes = 0;
  in_the_middle(session, [&] {
    session.with([&](Relay& relay) {
      relay.to_upstream().detach(tap);
      bytes = tap.bytes;
    });
  });
  EXPECT_TRUE(tap.content() && stays.content());
  EXPECT_EQ(tap.bytes, bytes);
  EXPECT_EQ(tap.eofs, 0);
  EXPECT_FALSE(tap.totals.has_value());
  EXPECT_EQ(stays.bytes, kSize);
}

TEST_P(TapChangeTest, AfterTheLastTapIsGoneTheDirectionSplicesAsBefore) {
  if (splice() == SpliceMode::never) GTEST_SKIP() << "never splices";
  TestTap& tap = make_tap(kToUpstream);
  tap.wants_exact = true;
  RelaySession& session = start(tapped(tap));
  in_the_middle(session, [&] {
    session.with([&](Relay& relay) {
      EXPECT_EQ(relay.to_upstream().spliced_bytes(), 0U);
      relay.to_upstream().detach(tap);
    });
  });
  EXPECT_GT(session.report().spliced_bytes, 0U);
}

TEST_P(TapChangeTest, ATapMayDetachItselfFromWithinAppend) {
  TestTap& first = make_tap(kToUpstream);
  TestTap& second = make_tap(kToUpstream);
  first.at_append = [&] { pump().detach(first); };
  in_the_middle(start(tapped(first, &second)), [] {});
  EXPECT_TRUE(first.content() && second.content());
  EXPECT_GT(first.bytes, 0U);
  EXPECT_LT(first.bytes, kSize);
  EXPECT_EQ(second.bytes, kSize);
}

TEST_P(TapChangeTest, ATapMayDetachItselfWhenItIsAskedWhatItCanTake) {
  TestTap& first = make_tap(kToUpstream);
  TestTap& second = make_tap(kToUpstream);
  first.at_allowance = [&] {
    if (first.next > kSize / 4) pump().detach(first);
  };
  in_the_middle(start(tapped(first, &second)), [] {});
  EXPECT_TRUE(first.content() && second.content());
  EXPECT_LT(first.bytes, kSize);
  EXPECT_EQ(second.bytes, kSize);
}

TEST_P(TapChangeTest, ATapMayDetachAllOthers) {
  TestTap& first = make_tap(kToUpstream);
  TestTap& second = make_tap(kToUpstream);
  first.at_append = [&] {
    if (first.next > kSize / 4) pump().detach(second);
  };
  in_the_middle(start(tapped(first, &second)), [] {});
  EXPECT_TRUE(first.content() && second.content());
  EXPECT_EQ(first.bytes, kSize);
  EXPECT_LT(second.bytes, kSize);
}

TEST_P(TapChangeTest, ATapMayDetachItselfWhenTheStreamEnds) {
  TestTap& first = make_tap(kToUpstream);
  TestTap& second = make_tap(kToUpstream);
  first.at_end = [&] { pump().detach(first); };
  in_the_middle(start(tapped(first, &second)), [] {});
  EXPECT_EQ(first.eofs, 1);
  EXPECT_FALSE(first.totals.has_value());
  EXPECT_EQ(second.eofs, 1);
  EXPECT_TRUE(second.totals.has_value());
}

TEST_P(TapChangeTest, ADetachedGateLetsEverythingGo) {
  TestTap& tap = make_tap(kToUpstream);
  tap.hold_back_from = 0;
  RelaySession& session = start(tapped(tap));
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 50'000));
  ASSERT_TRUE(test::wait_until([&] { return loop_->call([&] { return tap.bytes; }) > 0; }));
  EXPECT_EQ(session.forwarded_to_upstream(), 0U);
  session.with([&](Relay& relay) { relay.to_upstream().detach(tap); });
  EXPECT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == 50'000; }));
}

TEST_P(TapChangeTest, ADetachedTapThatCouldTakeNothingHoldsUpNobody) {
  TestTap& tap = make_tap(kToUpstream);
  tap.can_take = 0;
  RelaySession& session = start(tapped(tap));
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 50'000));
  EXPECT_TRUE(loop_->sleeps());
  session.with([&](Relay& relay) { relay.to_upstream().detach(tap); });
  EXPECT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == 50'000; }));
}

// --- Ends

TEST_P(TapChangeTest, ATapIsToldOnceWhereTheStreamWasCut) {
  constexpr std::uint64_t kPart = 100'000;
  TestTap& tap = make_tap(kToUpstream);
  RelaySession& session = start(tapped(tap));
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, kPart));
  ASSERT_TRUE(
      test::wait_until([&] { return test::unacknowledged_bytes(session.client.get()) == 0; }));
  test::reset(std::move(session.client));
  EXPECT_EQ(read_until(session.upstream.get(), kToUpstream, Ending::reset), kPart);
  EXPECT_EQ(session.end(), EndReason::client_reset);
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.eofs, 0);
  EXPECT_EQ(tap.resets, 1);
  EXPECT_EQ(tap.end_offset, kPart);
  EXPECT_EQ(tap.totals->received, kPart);
  EXPECT_EQ(tap.totals->forwarded, kPart);
  EXPECT_EQ(tap.totals->acknowledged, kPart);
}

TEST_P(TapChangeTest, ATapOfAStoppedRelayIsToldOfAResetAndTheTotals) {
  TestTap& tap = make_tap(kToUpstream);
  tap.hold_back_from = 100;
  RelaySession& session = start(tapped(tap));
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 1000));
  ASSERT_TRUE(test::wait_until([&] { return loop_->call([&] { return tap.bytes; }) == 1000; }));
  ASSERT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == 100; }));
  session.with([](Relay& relay) { relay.stop(EndReason::drain_timeout); });
  EXPECT_EQ(session.end(), EndReason::drain_timeout);
  EXPECT_EQ(tap.resets, 1);
  EXPECT_EQ(tap.totals->received, 1000U);
  EXPECT_EQ(tap.totals->forwarded, 100U);
}

TEST_P(TapChangeTest, AFinThatIsNotAcknowledgedIsNoByteOfTheStream) {
  constexpr std::uint64_t kPart = 50'000;
  TestTap& tap = make_tap(kToUpstream);
  SessionOptions options = tapped(tap);
  // All bytes and the FIN wait in the relay's send queue for an upstream that does not read.
  options.upstream = {.near_send_bytes = 1 << 20, .far_receive_bytes = 4096};
  RelaySession& session = start(std::move(options));
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, kPart));
  test::finish_sending(session.client.get());
  ASSERT_TRUE(test::wait_until([&] {
    return session.look([](Relay& relay) { return relay.to_upstream().ended(); }) == true;
  }));
  EXPECT_TRUE(loop_->sleeps());
  session.with([](Relay& relay) { relay.stop(EndReason::drain_timeout); });
  EXPECT_EQ(session.end(), EndReason::drain_timeout);
  EXPECT_EQ(tap.totals->forwarded, kPart);
  EXPECT_LT(tap.totals->acknowledged, kPart);
  EXPECT_EQ(tap.totals->acknowledged,
            read_until(session.upstream.get(), kToUpstream, Ending::reset));
}

// The wake is the first to meet the reset, in its own send.
TEST_P(TapChangeTest, AGateThatOpensOntoABrokenTargetIsToldOnce) {
  TestTap& tap = make_tap(kToUpstream);
  tap.hold_back_from = 0;
  RelaySession& session = start(tapped(tap));
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 1000));
  ASSERT_TRUE(test::wait_until([&] { return loop_->call([&] { return tap.bytes; }) == 1000; }));
  session.with([&](Relay& relay) {
    test::reset(std::move(session.upstream));
    tap.hold_back_from = Tap::kNoLimit;
    relay.to_upstream().wake();
  });
  EXPECT_EQ(session.end(), EndReason::upstream_reset);
  EXPECT_EQ(tap.resets, 1);
  EXPECT_EQ(tap.eofs, 0);
  EXPECT_EQ(tap.totals->forwarded, 0U);
  EXPECT_EQ(read_until(session.client.get(), kToClient, Ending::reset), 0U);
}

TEST_P(TapChangeTest, AResetWhileATapHoldsTheStreamUpStillReachesTheOtherSide) {
  TestTap& tap = make_tap(kToUpstream);
  tap.hold_back_from = 0;
  RelaySession& session = start(tapped(tap));
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 1000));
  ASSERT_TRUE(test::wait_until([&] { return loop_->call([&] { return tap.bytes; }) == 1000; }));
  test::reset(std::move(session.client));
  EXPECT_TRUE(loop_->sleeps());
  EXPECT_FALSE(session.ended()) << "what was received still waits for the gate";
  session.with([&](Relay& relay) {
    tap.hold_back_from = Tap::kNoLimit;
    relay.to_upstream().wake();
  });
  EXPECT_EQ(read_until(session.upstream.get(), kToUpstream, Ending::reset), 1000U);
  EXPECT_EQ(session.end(), EndReason::client_reset);
}

// Three taps. At the end, the first one detaches and asks all for their allowance.
TEST(TapSetTest, OneCallMayLeadToAnother) {
  std::deque<TestTap> taps;
  TapSet set;
  for (int i = 0; i < 3; ++i) set.attach(taps.emplace_back(kToUpstream));
  std::array<int, 3> asked{};
  for (std::size_t i = 0; i < taps.size(); ++i) {
    taps[i].at_allowance = [&asked, i] { ++asked[i]; };
  }
  taps[0].at_end = [&] {
    set.detach(taps[0]);
    EXPECT_GT(set.allowance(), 0U);
  };
  set.reset(0);
  for (const TestTap& tap : taps) EXPECT_EQ(tap.resets, 1);
  EXPECT_EQ(asked, (std::array{0, 1, 1}));
  set.closed({});
  EXPECT_FALSE(taps[0].totals.has_value());
  EXPECT_TRUE(taps[1].totals.has_value() && taps[2].totals.has_value());
}

}  // namespace
}  // namespace sluice
