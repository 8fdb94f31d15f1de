#include "iolib/relay/relay.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "tests/iolib/relay/relay_fixture.h"
#include "tests/support/in_background.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::Pattern;

INSTANTIATE_TEST_SUITE_P(Modes, RelayTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);
INSTANTIATE_TEST_SUITE_P(Engines, EngineTest, testing::Values(Engine::uring, Engine::asio),
                         name_of_engine);

// --- Bytes

void relay_both_ways(RelaySession& session, std::uint64_t size, std::uint64_t seed) {
  auto client_sends = test::in_background(
      [&] { return send_in_pieces(session.client.get(), kToUpstream, size, seed); });
  auto upstream_sends = test::in_background(
      [&] { return send_in_pieces(session.upstream.get(), kToClient, size, seed + 1); });
  auto at_client =
      test::in_background([&] { return read_whole(session.client.get(), kToClient, size); });
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, size), "");
  EXPECT_EQ(at_client.get(), "");
  EXPECT_TRUE(client_sends.get());
  EXPECT_TRUE(upstream_sends.get());
  EXPECT_EQ(session.end(), EndReason::closed);
  EXPECT_EQ(session.report().to_upstream_end, Pump::End::eof);
  EXPECT_EQ(session.report().to_client_end, Pump::End::eof);
  EXPECT_EQ(session.report().to_upstream_bytes, size);
  EXPECT_EQ(session.report().to_client_bytes, size);
}

TEST_P(RelayTest, BytesOfRandomSizesArriveBothWaysAtOnce) {
  const std::uint64_t size = test::by_scale(2U, 8U, 64U) << 20;
  RelaySession& session = start();
  relay_both_ways(session, size, test::seed());
  if (splice() == SpliceMode::never) {
    EXPECT_EQ(session.report().spliced_bytes, 0U);
  } else {
    EXPECT_GT(session.report().spliced_bytes, 0U);
  }
  if (splice() == SpliceMode::always) {
    EXPECT_EQ(session.report().spliced_bytes, 2 * size);
  }
}

TEST_P(RelayTest, BytesOfRandomSizesArriveThroughSmallBuffers) {
  const std::uint64_t size = test::by_scale(128U, 512U, 2048U) << 10;
  use_pool({.pipe_bytes = 4096, .budget_slots = 64, .thread_pipes = 16});
  relay_both_ways(start({.client = test::kSmallBuffers, .upstream = test::kSmallBuffers}), size,
                  test::seed());
}

TEST_P(RelayTest, SeveralConnectionsDoNotMix) {
  constexpr std::size_t kConnections = 8;
  constexpr std::uint64_t kSize = 512 << 10;
  std::vector<std::future<bool>> senders;
  for (std::size_t i = 0; i < kConnections; ++i) start();
  for (std::size_t i = 0; i < kConnections; ++i) {
    const int fd = sessions_[i]->client.get();
    senders.push_back(
        test::in_background([fd, i] { return send_in_pieces(fd, Pattern(100 + i), kSize, i); }));
  }
  for (std::size_t i = 0; i < kConnections; ++i) {
    EXPECT_EQ(read_whole(sessions_[i]->upstream.get(), Pattern(100 + i), kSize), "");
    EXPECT_TRUE(senders[i].get());
  }
}

TEST_P(RelayTest, MessagesGoBackAndForth) {
  RelaySession& session = start();
  for (int i = 0; i < 100; ++i) {
    const std::string question = "question " + std::to_string(i);
    const std::string answer = "answer " + std::to_string(i);
    ASSERT_TRUE(test::send_all(session.client.get(), question));
    ASSERT_EQ(test::receive_text(session.upstream.get(), question.size()), question);
    ASSERT_TRUE(test::send_all(session.upstream.get(), answer));
    ASSERT_EQ(test::receive_text(session.client.get(), answer.size()), answer);
  }
}

TEST_P(RelayTest, BytesReceivedBeforeTheRelayBeganComeFirst) {
  std::string held(Pump::kMaxHeldBytes, '\0');
  kToUpstream.fill(0, std::as_writable_bytes(std::span(held)));
  RelaySession& session = start({.upstream = test::kSmallBuffers, .held = held});
  constexpr std::uint64_t kMore = 100'000;
  auto sender = test::in_background([&] {
    const bool sent = test::send_pattern(session.client.get(), kToUpstream, held.size(), kMore);
    test::finish_sending(session.client.get());
    return sent;
  });
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, held.size() + kMore), "");
  EXPECT_TRUE(sender.get());
}

// An idle connection uses its two sockets and nothing else.
TEST_P(RelayTest, AnIdleConnectionHoldsNoPipeAndTheLoopSleeps) {
  RelaySession& session = start();
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 1 << 20));
  test::PatternChecker checker(kToUpstream);
  test::read_pattern(session.upstream.get(), checker, {.stop_after_bytes = 1 << 20});
  ASSERT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == 1 << 20; }));
  EXPECT_EQ(lent_pipes(), 0U);
  EXPECT_EQ(session.look([](Relay& relay) { return relay.to_upstream().held_bytes(); }), 0U);
  EXPECT_TRUE(loop_->sleeps());
}

// --- Promotion and demotion

// Sends `bytes` at once; the kernel has them all before the relay looks.
void send_burst(LoopThread& loop, RelaySession& session, std::size_t bytes) {
  const std::string burst(bytes, 'x');
  // On the loop's thread, which receives nothing meanwhile.
  ASSERT_TRUE(loop.call([&] { return test::send_all(session.client.get(), burst); }));
  ASSERT_EQ(test::receive_text(session.upstream.get(), bytes).size(), bytes);
}

bool streaming(RelaySession& session) {
  return session.look([](Relay& relay) { return relay.to_upstream().streaming(); }).value();
}

constexpr test::PairOptions kRoomy{.near_receive_bytes = 1 << 20};

constexpr std::size_t kFull = Reactor::kReceiveBytes;
// Full receives, each of which leaves more behind, and one byte for the last one to leave.
constexpr std::size_t kStream = Promotion::kPromoteAfter * kFull + 1;

TEST_P(EngineTest, SpliceBeginsAfterSoManyFullReceivesInARow) {
  RelaySession& session = start({.client = kRoomy});
  for (int i = 0; i < 2; ++i) {
    send_burst(*loop_, session, kStream - kFull);  // its last byte is a rest
    EXPECT_FALSE(streaming(session));
    send_burst(*loop_, session, 1);  // the row is broken
  }
  EXPECT_EQ(session.look([](Relay& relay) { return relay.to_upstream().spliced_bytes(); }), 0U);
  send_burst(*loop_, session, kStream);
  EXPECT_TRUE(streaming(session));
  EXPECT_EQ(session.look([](Relay& relay) { return relay.to_upstream().spliced_bytes(); }), 1U);
  EXPECT_FALSE(session.look([](Relay& relay) { return relay.to_client().streaming(); }).value())
      << "the other direction decides for itself";
}

TEST_P(EngineTest, MessagesThatOneReceiveTakesWholeAreNoStream) {
  RelaySession& session = start({.client = kRoomy});
  for (int i = 0; i < 3 * Promotion::kPromoteAfter; ++i) send_burst(*loop_, session, kFull);
  EXPECT_FALSE(streaming(session));
}

// Each message is a receive that leaves a rest, and the rest.
TEST_P(EngineTest, LargerMessagesAreSpliced) {
  constexpr std::size_t kMessage = kFull + kFull / 2;
  RelaySession& session = start({.client = kRoomy});
  for (int i = 0; i < Promotion::kPromoteAfter; ++i) {
    EXPECT_FALSE(streaming(session)) << i;
    send_burst(*loop_, session, kMessage);
  }
  EXPECT_TRUE(streaming(session));
  for (int i = 0; i < 2 * Promotion::kDemoteAfter; ++i) send_burst(*loop_, session, kMessage);
  EXPECT_TRUE(streaming(session));
}

TEST_P(EngineTest, CopyingBeginsAgainAfterSoManySmallTurnsInARow) {
  RelaySession& session = start({.client = kRoomy});
  send_burst(*loop_, session, kStream);  // its last byte is the first small turn
  ASSERT_TRUE(streaming(session));
  for (int i = 0; i < Promotion::kDemoteAfter - 2; ++i) send_burst(*loop_, session, 1);
  EXPECT_TRUE(streaming(session));
  send_burst(*loop_, session, Promotion::kSmallTurnBytes + 1);  // large enough: the row is broken
  for (int i = 0; i < Promotion::kDemoteAfter - 1; ++i) send_burst(*loop_, session, 1);
  EXPECT_TRUE(streaming(session));
  send_burst(*loop_, session, 1);
  EXPECT_FALSE(streaming(session));
  send_burst(*loop_, session, kStream);
  EXPECT_TRUE(streaming(session));
}

TEST_P(EngineTest, AlwaysSplicesTheSmallestMessageAndNeverTheLargestStream) {
  use_splice(SpliceMode::always);
  RelaySession& always = start();
  for (int i = 0; i < 2 * Promotion::kDemoteAfter; ++i) send_burst(*loop_, always, 1);
  EXPECT_EQ(always.look([](Relay& relay) { return relay.to_upstream().spliced_bytes(); }),
            2U * Promotion::kDemoteAfter);
  use_splice(SpliceMode::never);
  RelaySession& never = start({.client = kRoomy});
  send_burst(*loop_, never, 2 * kStream);
  EXPECT_EQ(never.look([](Relay& relay) { return relay.to_upstream().spliced_bytes(); }), 0U);
}

// --- Half-close

TEST_P(RelayTest, AfterTheClientsFinTheUpstreamMayGoOnSending) {
  constexpr std::uint64_t kSize = 1 << 20;
  RelaySession& session = start();
  ASSERT_TRUE(test::send_all(session.client.get(), "request"));
  test::finish_sending(session.client.get());
  EXPECT_EQ(test::receive_text(session.upstream.get(), 100), "request");  // to its end
  auto sender = test::in_background(
      [&] { return send_in_pieces(session.upstream.get(), kToClient, kSize, test::seed()); });
  EXPECT_EQ(read_whole(session.client.get(), kToClient, kSize), "");
  EXPECT_TRUE(sender.get());
  EXPECT_EQ(session.end(), EndReason::closed);
}

TEST_P(RelayTest, AfterTheUpstreamsFinTheClientMayGoOnSending) {
  constexpr std::uint64_t kSize = 1 << 20;
  RelaySession& session = start();
  ASSERT_TRUE(test::send_all(session.upstream.get(), "banner"));
  test::finish_sending(session.upstream.get());
  EXPECT_EQ(test::receive_text(session.client.get(), 100), "banner");
  auto sender = test::in_background(
      [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, kSize), "");
  EXPECT_TRUE(sender.get());
  EXPECT_EQ(session.end(), EndReason::closed);
}

TEST_P(RelayTest, AFinAloneEndsAnEmptyStream) {
  RelaySession& session = start();
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, 0), "");
  EXPECT_FALSE(session.ended());
  test::finish_sending(session.upstream.get());
  EXPECT_EQ(read_whole(session.client.get(), kToClient, 0), "");
  EXPECT_EQ(session.end(), EndReason::closed);
}

TEST_P(RelayTest, AHalfClosedConnectionDoesNotSpin) {
  RelaySession& session = start();
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, 0), "");
  EXPECT_TRUE(loop_->sleeps());
}

TEST_P(RelayTest, TheFinWaitsForTheBytesThatAreHeld) {
  RelaySession& session = start({.client = test::kSmallBuffers, .upstream = test::kSmallBuffers});
  const std::uint64_t sent = send_until_held(session, 64 << 20);
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, sent), "");
}

// --- Other shapes

TEST_P(RelayTest, WithoutAnUpstreamTheBytesGoBackToTheClient) {
  constexpr std::uint64_t kSize = 2 << 20;
  RelaySession& session = start({.echo = true});
  auto sender = test::in_background(
      [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
  EXPECT_EQ(read_whole(session.client.get(), kToUpstream, kSize), "");
  EXPECT_TRUE(sender.get());
  EXPECT_EQ(session.end(), EndReason::closed);
}

TEST_P(RelayTest, AnEchoWhoseClientReadsLateLosesNothing) {
  RelaySession& session = start({.client = test::kSmallBuffers, .echo = true});
  const std::uint64_t sent =
      test::send_until_full(session.client.get(), kToUpstream, 64 << 20, 50ms);
  EXPECT_TRUE(loop_->sleeps());
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(session.client.get(), kToUpstream, sent), "");
  EXPECT_EQ(session.end(), EndReason::closed);
}

TEST_P(RelayTest, ADeviceTakesEverything) {
  constexpr std::uint64_t kSize = 2 << 20;
  RelaySession& session = start({.to_device = true});
  EXPECT_TRUE(send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()));
  EXPECT_EQ(read_whole(session.client.get(), kToClient, 0), "");
  EXPECT_EQ(session.end(), EndReason::closed);
  EXPECT_EQ(session.report().to_upstream_bytes, kSize);
}

TEST_P(RelayTest, AResetEndsAnEchoAndADevice) {
  for (const bool to_device : {false, true}) {
    RelaySession& session = start({.echo = !to_device, .to_device = to_device});
    ASSERT_TRUE(test::send_all(session.client.get(), "some"));
    ASSERT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == 4; }));
    test::reset(std::move(session.client));
    EXPECT_EQ(session.end(), EndReason::client_reset);
  }
}

TEST_P(RelayTest, UnixSocketsAreRelayedBothWays) {
  relay_both_ways(start({.unix_sockets = true}), 2 << 20, test::seed());
}

TEST_P(RelayTest, AUnixClientThatGoesAwayEndsTheRelay) {
  RelaySession& session = start({.unix_sockets = true});
  ASSERT_TRUE(test::send_all(session.client.get(), "last words"));
  session.client.reset();
  EXPECT_EQ(test::receive_text(session.upstream.get(), 100), "last words");  // to its end
  session.upstream.reset();
  static_cast<void>(session.end());
}

}  // namespace
}  // namespace sluice
