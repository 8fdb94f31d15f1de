#include "iolib/relay/tap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/iolib/relay/relay_fixture.h"
#include "tests/iolib/relay/test_tap.h"
#include "tests/support/in_background.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::Ending;
using test::Pattern;

class TapTest : public RelayTest {
 protected:
  /// Taps outlive the relays, also when a test fails in the middle.
  TestTap& make_tap(Pattern pattern) { return taps_.emplace_back(pattern); }
  /// A connection whose client's bytes go to `taps`, in that order.
  RelaySession& start_tapped(const std::vector<TestTap*>& taps, SessionOptions options = {}) {
    options.before = [this, taps](Relay& relay) {
      pump_ = &relay.to_upstream();
      for (TestTap* tap : taps) relay.to_upstream().attach(*tap);
    };
    return start(std::move(options));
  }
  /// Sends `size` bytes from the client in pieces, and reads them to the end at the upstream.
  void transfer(RelaySession& session, std::uint64_t size) {
    auto sender = test::in_background(
        [&] { return send_in_pieces(session.client.get(), kToUpstream, size, test::seed()); });
    EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, size), "");
    EXPECT_TRUE(sender.get());
    test::finish_sending(session.upstream.get());
    EXPECT_EQ(session.end(), EndReason::closed);
  }
  static void wake(RelaySession& session) {
    session.with([](Relay& relay) { relay.to_upstream().wake(); });
  }
  static std::uint64_t forwarded(RelaySession& session) { return session.forwarded_to_upstream(); }
  static constexpr std::uint64_t kSize = 2 << 20;

  Pump* pump_ = nullptr;  ///< for taps: used on the loop's thread only

 private:
  std::deque<TestTap> taps_;
};

INSTANTIATE_TEST_SUITE_P(Modes, TapTest, testing::ValuesIn(every_relay_mode()), name_of_relay_mode);

// --- Every byte once

// By then, the tap's work delays nothing.
TEST_P(TapTest, OneMaySeeWhatIsCopiedOnceItIsForwarded) {
  if (splice() == SpliceMode::always) GTEST_SKIP() << "nothing is copied";
  TestTap& later = make_tap(kToUpstream);
  TestTap& first = make_tap(kToUpstream);
  later.after = true;
  std::atomic<int> upstream = -1;
  std::atomic<bool> shown = false;
  later.at_append = [&] {
    EXPECT_TRUE(test::readable_within(upstream, test::kPatience));
    EXPECT_EQ(first.next, later.next);
    shown = true;
  };
  first.at_append = [&] {
    EXPECT_FALSE(test::readable_within(upstream, 0ms));
    EXPECT_LT(later.next, first.next);
  };
  RelaySession& session = start_tapped({&later, &first});
  upstream = session.upstream.get();
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 100));
  EXPECT_TRUE(test::wait_until([&] { return shown.load(); }));
  EXPECT_EQ(test::receive_text(session.upstream.get(), 100).size(), 100U);
  test::finish_sending(session.client.get());
  test::finish_sending(session.upstream.get());
  EXPECT_EQ(session.end(), EndReason::closed);
  EXPECT_TRUE(first.content() && later.content());
  EXPECT_EQ(later.bytes, 100U);
}

TEST_P(TapTest, SeesEveryByteOnceInOrderAndTheTotalsAtTheEnd) {
  TestTap& tap = make_tap(kToUpstream);
  transfer(start_tapped({&tap}), kSize);
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.first, 0U);
  EXPECT_EQ(tap.bytes, kSize);
  EXPECT_EQ(tap.eofs, 1);
  EXPECT_EQ(tap.resets, 0);
  EXPECT_EQ(tap.end_offset, kSize);
  ASSERT_TRUE(tap.totals.has_value());
  EXPECT_EQ(tap.totals->received, kSize);
  EXPECT_EQ(tap.totals->forwarded, kSize);
  EXPECT_EQ(tap.totals->acknowledged, kSize);
  // By reference if the direction splices, and only then.
  EXPECT_EQ(tap.by_reference > 0, splice() != SpliceMode::never);
}

TEST_P(TapTest, TwoTapsBothSeeEverything) {
  TestTap& first = make_tap(kToUpstream);
  TestTap& second = make_tap(kToUpstream);
  transfer(start_tapped({&first, &second}), kSize);
  for (const TestTap* tap : {&first, &second}) {
    EXPECT_TRUE(tap->content());
    EXPECT_EQ(tap->bytes, kSize);
    EXPECT_EQ(tap->eofs, 1);
    EXPECT_TRUE(tap->totals.has_value());
  }
}

TEST_P(TapTest, BothDirectionsAreTappedEachByItsOwnTap) {
  TestTap& to_upstream = make_tap(kToUpstream);
  TestTap& to_client = make_tap(kToClient);
  RelaySession& session = start({.before = [&](Relay& relay) {
    relay.to_upstream().attach(to_upstream);
    relay.to_client().attach(to_client);
  }});
  auto client_sends = test::in_background(
      [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
  auto upstream_sends = test::in_background(
      [&] { return send_in_pieces(session.upstream.get(), kToClient, kSize, test::seed() + 1); });
  auto at_client =
      test::in_background([&] { return read_whole(session.client.get(), kToClient, kSize); });
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, kSize), "");
  EXPECT_EQ(at_client.get(), "");
  EXPECT_TRUE(client_sends.get() && upstream_sends.get());
  EXPECT_EQ(session.end(), EndReason::closed);
  EXPECT_TRUE(to_upstream.content() && to_client.content());
  EXPECT_EQ(to_upstream.bytes, kSize);
  EXPECT_EQ(to_client.bytes, kSize);
}

TEST_P(TapTest, BytesThatWereReceivedBeforeTheRelayPassTheTapToo) {
  std::string held(5000, '\0');
  kToUpstream.fill(0, std::as_writable_bytes(std::span(held)));
  TestTap& tap = make_tap(kToUpstream);
  RelaySession& session = start_tapped({&tap}, {.held = held});
  EXPECT_EQ(test::receive_text(session.upstream.get(), held.size()), held);
  session.with([](Relay& relay) { relay.stop(EndReason::drain_timeout); });
  static_cast<void>(session.end());
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.bytes, held.size());
}

TEST_P(TapTest, ASlowReaderIsNoConcernOfTheTap) {
  TestTap& tap = make_tap(kToUpstream);
  RelaySession& session =
      start_tapped({&tap}, {.client = test::kSmallBuffers, .upstream = test::kSmallBuffers});
  const std::uint64_t sent =
      test::send_until_full(session.client.get(), kToUpstream, 64 << 20, 50ms);
  EXPECT_LE(session.look([](Relay& relay) { return relay.to_upstream().held_bytes(); }).value(),
            kPipeBytes);
  std::this_thread::sleep_for(2 * Pump::kPipePause);  // time for clean-up during a pause
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, sent), "");
  test::finish_sending(session.upstream.get());
  EXPECT_EQ(session.end(), EndReason::closed);
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.bytes, sent);
}

TEST_P(TapTest, AnExactTapMakesTheDirectionCopy) {
  TestTap& tap = make_tap(kToUpstream);
  tap.wants_exact = true;
  RelaySession& session = start_tapped({&tap});
  transfer(session, kSize);
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.bytes, kSize);
  EXPECT_EQ(tap.by_reference, 0);
  EXPECT_EQ(session.report().spliced_bytes, 0U);
}

TEST_P(TapTest, AnEchoAndADeviceAreTappedAsWell) {
  for (const bool to_device : {false, true}) {
    TestTap& tap = make_tap(kToUpstream);
    RelaySession& session = start_tapped({&tap}, {.echo = !to_device, .to_device = to_device});
    auto sender = test::in_background(
        [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
    EXPECT_EQ(read_whole(session.client.get(), kToUpstream, to_device ? 0 : kSize), "");
    EXPECT_TRUE(sender.get());
    EXPECT_EQ(session.end(), EndReason::closed);
    EXPECT_TRUE(tap.content());
    EXPECT_EQ(tap.bytes, kSize);
    EXPECT_EQ(tap.totals->forwarded, kSize);
  }
}

// --- Slow taps

TEST_P(TapTest, ATapIsNeverGivenMoreThanItCanTake) {
  TestTap& tap = make_tap(kToUpstream);
  tap.can_take = 1000;
  tap.at_append = [&] { tap.can_take = std::max<std::size_t>(tap.can_take, 1000); };
  transfer(start_tapped({&tap}), 100'000);
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.bytes, 100'000U);
}

TEST_P(TapTest, ATapThatCanTakeNothingStopsTheStreamUntilItIsAwake) {
  constexpr std::uint64_t kPart = 30'000;
  TestTap& tap = make_tap(kToUpstream);
  tap.can_take = 0;
  RelaySession& session = start_tapped({&tap});
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 3 * kPart));
  test::PatternChecker checker(kToUpstream);
  for (std::uint64_t part = 0; part < 3; ++part) {
    EXPECT_TRUE(loop_->sleeps());
    EXPECT_EQ(forwarded(session), part * kPart);
    session.with([&](Relay& relay) {
      tap.can_take = kPart;
      relay.to_upstream().wake();
    });
    test::read_pattern(session.upstream.get(), checker, {.stop_after_bytes = (part + 1) * kPart});
  }
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  // The end of the stream waits only for the next turn, not for an allowance.
  test::finish_sending(session.client.get());
  session.with([&](Relay& relay) {
    tap.can_take = 1;
    relay.to_upstream().wake();
  });
  EXPECT_EQ(test::read_pattern(session.upstream.get(), checker), Ending::eof);
  test::finish_sending(session.upstream.get());
  EXPECT_EQ(session.end(), EndReason::closed);
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.bytes, 3 * kPart);
}

TEST_P(TapTest, TheSlowestOfTwoTapsSetsThePace) {
  TestTap& quick = make_tap(kToUpstream);
  TestTap& slow = make_tap(kToUpstream);
  slow.can_take = 5000;
  slow.at_append = [&] { slow.can_take = std::max<std::size_t>(slow.can_take, 5000); };
  transfer(start_tapped({&quick, &slow}), 200'000);
  EXPECT_TRUE(quick.content() && slow.content());
  EXPECT_EQ(quick.bytes, 200'000U);
  EXPECT_EQ(slow.bytes, 200'000U);
}

TEST_P(TapTest, ATapWhoseAllowanceDoesNotStandIsAskedWhenBytesAreThere) {
  for (const bool exact : {false, true}) {
    TestTap& tap = make_tap(kToUpstream);
    tap.stands = false;
    tap.wants_exact = exact;
    RelaySession& session = start_tapped({&tap});
    ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 100));
    ASSERT_TRUE(test::wait_until([&] { return forwarded(session) == 100; }));
    loop_->call([&] { tap.can_take = 0; });
    ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 100, 1000));
    EXPECT_TRUE(loop_->sleeps());
    EXPECT_EQ(loop_->call([&] { return tap.bytes; }), 100U);
    session.with([&](Relay& relay) {
      tap.can_take = std::numeric_limits<std::size_t>::max();
      relay.to_upstream().wake();
    });
    ASSERT_TRUE(test::wait_until([&] { return forwarded(session) == 1100; }));
    auto sender = test::in_background([&] {
      return test::send_pattern(session.client.get(), kToUpstream, 1100, kSize - 1100) &&
             (test::finish_sending(session.client.get()), true);
    });
    EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, kSize), "");
    EXPECT_TRUE(sender.get());
    test::finish_sending(session.upstream.get());
    EXPECT_EQ(session.end(), EndReason::closed);
    EXPECT_TRUE(tap.content());
    EXPECT_EQ(tap.bytes, kSize);
  }
}

TEST_P(TapTest, WakingWhomNobodyWaitsForIsNothing) {
  TestTap& tap = make_tap(kToUpstream);
  tap.at_append = [this] { pump_->wake(); };  // from within a turn
  RelaySession& session = start_tapped({&tap});
  for (int i = 0; i < 5; ++i) wake(session);
  transfer(session, 500'000);
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.bytes, 500'000U);
}

// --- Gating taps

TEST_P(TapTest, NothingPassesTheWatermarkBeforeItRises) {
  constexpr std::uint64_t kPart = 20'000;
  constexpr std::uint64_t kParts = 5;
  TestTap& tap = make_tap(kToUpstream);
  tap.hold_back_from = 0;
  RelaySession& session = start_tapped({&tap});
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, kParts * kPart));
  test::finish_sending(session.client.get());
  test::PatternChecker checker(kToUpstream);
  for (std::uint64_t part = 0; part < kParts; ++part) {
    EXPECT_TRUE(loop_->sleeps());
    EXPECT_EQ(forwarded(session), part * kPart);
    EXPECT_GT(loop_->call([&] { return tap.bytes; }), part * kPart) << "shown before it may go";
    session.with([&](Relay& relay) {
      tap.hold_back_from += kPart;
      relay.to_upstream().wake();
    });
    test::read_pattern(session.upstream.get(), checker, {.stop_after_bytes = (part + 1) * kPart});
  }
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  EXPECT_EQ(test::read_pattern(session.upstream.get(), checker), Ending::eof);
  EXPECT_EQ(checker.received_bytes(), kParts * kPart);
  test::finish_sending(session.upstream.get());
  EXPECT_EQ(session.end(), EndReason::closed);
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.bytes, kParts * kPart);
}

TEST_P(TapTest, TheLowestOfTwoWatermarksHolds) {
  TestTap& first = make_tap(kToUpstream);
  TestTap& second = make_tap(kToUpstream);
  first.hold_back_from = 300;
  second.hold_back_from = 100;
  RelaySession& session = start_tapped({&first, &second});
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 1000));
  ASSERT_TRUE(test::wait_until([&] { return forwarded(session) == 100; }));
  session.with([&](Relay& relay) {
    second.hold_back_from = Tap::kNoLimit;
    relay.to_upstream().wake();
  });
  ASSERT_TRUE(test::wait_until([&] { return forwarded(session) == 300; }));
  EXPECT_TRUE(loop_->sleeps());
  EXPECT_EQ(forwarded(session), 300U);
  session.with([&](Relay& relay) {
    first.hold_back_from = Tap::kNoLimit;
    relay.to_upstream().wake();
  });
  EXPECT_TRUE(test::wait_until([&] { return forwarded(session) == 1000; }));
}

TEST_P(TapTest, AGateInFrontOfASlowReaderLosesNothing) {
  TestTap& tap = make_tap(kToUpstream);
  tap.hold_back_from = 0;
  // The watermark rises a little at a time, always behind the bytes shown.
  RelaySession& session =
      start_tapped({&tap}, {.client = test::kSmallBuffers, .upstream = test::kSmallBuffers});
  auto sender = test::in_background(
      [&] { return send_in_pieces(session.client.get(), kToUpstream, 300'000, test::seed()); });
  std::atomic<bool> done{false};
  std::thread gatekeeper([&] {
    while (!done) {
      session.with([&](Relay& relay) {
        tap.hold_back_from = std::min(tap.hold_back_from + 7000, tap.next);
        relay.to_upstream().wake();
      });
    }
  });
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, 300'000), "");
  done = true;
  gatekeeper.join();
  EXPECT_TRUE(sender.get());
  EXPECT_TRUE(loop_->call([&] { return tap.content(); }));
}

}  // namespace
}  // namespace sluice
