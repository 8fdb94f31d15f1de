#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>

#include "tests/iolib/relay/relay_fixture.h"
#include "tests/support/silence.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::Ending;
using test::Pattern;

// Long enough for a busy machine to pass a few bytes, short enough to wait for.
constexpr Duration kShort = 200ms;

using RelayEndTest = RelayTest;
INSTANTIATE_TEST_SUITE_P(Modes, RelayEndTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

// How often a test is repeated on a machine that stands still for kShort.
constexpr int kTries = 20;

// True if the relay lives while messages go one way for twice the timeout. Nothing if the machine
// stood still for so long that the relay may rightly have ended.
std::optional<bool> lives_by(RelaySession& session, int from, int to, test::Silence& silence) {
  const TimePoint until = Clock::now() + 2 * kShort;
  while (Clock::now() < until) {
    silence.sending();
    const bool lives =
        test::send_all(from, "x") && test::receive_text(to, 1) == "x" && !session.ended();
    silence.looked();
    if (!lives && !session.ended()) return false;  // a message does not arrive
    if (silence.reached(kShort)) return std::nullopt;
    if (!lives) return false;
  }
  return true;
}

// --- Timeouts

TEST_P(RelayEndTest, ASilentConnectionEndsWithAResetBothWays) {
  const TimePoint begin = Clock::now();
  RelaySession& session = start({.idle_timeout = kShort});
  EXPECT_EQ(session.end(), EndReason::idle_timeout);
  EXPECT_GE(Clock::now() - begin, kShort);
  EXPECT_EQ(read_until(session.client.get(), kToClient, Ending::reset), 0U);
  EXPECT_EQ(read_until(session.upstream.get(), kToUpstream, Ending::reset), 0U);
}

// Counted from the message itself, not from when the loop next has something to do.
TEST_P(RelayEndTest, SilenceBeginsWithTheLastMessage) {
  constexpr Duration kLimit = std::chrono::milliseconds(600);
  Duration shortest = Duration::max();
  for (int i = 0; i < kTries && shortest > kLimit + kLimit / 2; ++i) {
    const TimePoint begin = Clock::now();
    RelaySession& session = start({.idle_timeout = kLimit});
    ASSERT_TRUE(test::send_all(session.client.get(), "?"));
    EXPECT_EQ(test::receive_text(session.upstream.get(), 1), "?");
    EXPECT_EQ(session.end(), EndReason::idle_timeout);
    shortest = std::min(shortest, Clock::now() - begin);
  }
  EXPECT_LE(shortest, kLimit + kLimit / 2);
}

TEST_P(RelayEndTest, BytesOneWayKeepAConnectionAlive) {
  for (int i = 0; i < kTries; ++i) {
    test::Silence silence;
    RelaySession& session = start({.idle_timeout = kShort});
    const int client = session.client.get();
    const int upstream = session.upstream.get();
    std::optional<bool> lives = lives_by(session, client, upstream, silence);
    if (lives == true) lives = lives_by(session, upstream, client, silence);
    if (!lives) continue;
    EXPECT_TRUE(*lives);
    EXPECT_EQ(session.end(), EndReason::idle_timeout);
    return;
  }
  GTEST_SKIP() << "the machine stands still again and again";
}

TEST_P(RelayEndTest, ASilentEchoAndASilentDeviceEndToo) {
  for (const bool to_device : {false, true}) {
    RelaySession& session =
        start({.idle_timeout = kShort, .echo = !to_device, .to_device = to_device});
    EXPECT_EQ(session.end(), EndReason::idle_timeout);
  }
}

TEST_P(RelayEndTest, AReaderWhoNeverReadsCountsAsSilence) {
  RelaySession& session = start(
      {.idle_timeout = kShort, .client = test::kSmallBuffers, .upstream = test::kSmallBuffers});
  test::send_until_full(session.client.get(), kToUpstream, 64 << 20, 20ms);
  EXPECT_EQ(session.end(), EndReason::idle_timeout);
}

TEST_P(RelayEndTest, AHalfClosedConnectionEndsWhenTheOtherDirectionIsSilent) {
  for (int i = 0; i < kTries; ++i) {
    RelaySession& session = start({.half_close_timeout = kShort});
    const int client = session.client.get();
    test::Silence silence;
    test::finish_sending(session.upstream.get());
    EXPECT_EQ(read_whole(client, kToClient, 0), "");
    const std::optional<bool> lives = lives_by(session, client, session.upstream.get(), silence);
    if (!lives) continue;
    EXPECT_TRUE(*lives) << "what counts is silence, not the time since the FIN";
    EXPECT_EQ(session.end(), EndReason::half_close_timeout);
    EXPECT_TRUE(test::wait_until([&] { return broken(client); }));
    EXPECT_EQ(read_until(session.upstream.get(), kToUpstream, Ending::reset), 0U);
    return;
  }
  GTEST_SKIP() << "the machine stands still again and again";
}

TEST_P(RelayEndTest, TheHalfCloseTimeoutIsNothingToAConnectionThatIsWhole) {
  RelaySession& session = start({.half_close_timeout = 50ms});
  ASSERT_TRUE(test::send_all(session.client.get(), "x"));
  std::this_thread::sleep_for(kShort);
  EXPECT_FALSE(session.ended());
}

TEST_P(RelayEndTest, ZeroMeansNoTimeout) {
  RelaySession& session = start({.idle_timeout = 0ns, .half_close_timeout = 0ns});
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, 0), "");
  EXPECT_TRUE(loop_->sleeps());
  EXPECT_FALSE(session.ended());
}

// --- stop()

TEST_P(RelayEndTest, StoppedItResetsBothSides) {
  RelaySession& session = start();
  ASSERT_TRUE(test::send_all(session.client.get(), "x"));
  ASSERT_EQ(test::receive_text(session.upstream.get(), 1), "x");
  session.with([](Relay& relay) {
    relay.stop(EndReason::drain_timeout);
    relay.stop(EndReason::drain_timeout);
  });
  EXPECT_EQ(session.end(), EndReason::drain_timeout);
  EXPECT_EQ(read_until(session.client.get(), kToClient, Ending::reset), 0U);
  EXPECT_EQ(read_until(session.upstream.get(), kToUpstream, Ending::reset), 0U);
  EXPECT_EQ(session.report().to_upstream_end, Pump::End::cut);
}

TEST_P(RelayEndTest, StoppedWhileAReaderStallsItEndsAtOnceAndGivesItsPipesBack) {
  RelaySession& session = start({.client = test::kSmallBuffers, .upstream = test::kSmallBuffers});
  test::send_until_full(session.client.get(), kToUpstream, 64 << 20, 20ms);
  test::send_until_full(session.upstream.get(), kToClient, 64 << 20, 20ms);
  session.with([](Relay& relay) { relay.stop(EndReason::drain_timeout); });
  EXPECT_EQ(session.end(), EndReason::drain_timeout);
  EXPECT_EQ(lent_pipes(), 0U);
}

TEST_P(RelayEndTest, StoppedBeforeItRanItEndsAtOnce) {
  RelaySession& session =
      start({.before = [](Relay& relay) { relay.stop(EndReason::drain_timeout); }});
  EXPECT_EQ(session.end(), EndReason::drain_timeout);
  EXPECT_EQ(read_until(session.client.get(), kToClient, Ending::reset), 0U);
}

TEST_P(RelayEndTest, StoppedInTheMiddleOfAStreamItCanNeverLookWhole) {
  for (int i = 0; i < 20; ++i) {
    RelaySession& session = start();
    const std::uint64_t sent = test::send_until_full(session.client.get(), kToUpstream,
                                                     1 + 17'000U * static_cast<unsigned>(i), 0ms);
    session.with([](Relay& relay) { relay.stop(EndReason::drain_timeout); });
    EXPECT_EQ(session.end(), EndReason::drain_timeout);
    EXPECT_LE(read_until(session.upstream.get(), kToUpstream, Ending::reset), sent);
    sessions_.pop_back();
  }
}

}  // namespace
}  // namespace sluice
