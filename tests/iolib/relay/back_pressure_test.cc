#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "tests/iolib/relay/relay_fixture.h"
#include "tests/support/in_background.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::Pattern;

constexpr std::uint64_t kMuch = 64 << 20;

using BackPressureTest = RelayTest;
INSTANTIATE_TEST_SUITE_P(Modes, BackPressureTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);
using PipePressureTest = EngineTest;
INSTANTIATE_TEST_SUITE_P(Engines, PipePressureTest, testing::Values(Engine::uring, Engine::asio),
                         name_of_engine);

std::size_t held_bytes(RelaySession& session) {
  return session.look([](Relay& relay) { return relay.to_upstream().held_bytes(); }).value();
}
bool holds_pipe(RelaySession& session) {
  return session.look([](Relay& relay) { return relay.to_upstream().holds_pipe(); }).value();
}
std::uint64_t received_bytes(RelaySession& session) {
  return session.look([](Relay& relay) { return relay.to_upstream().received_bytes(); }).value();
}
std::uint64_t spliced_bytes(RelaySession& session) {
  return session.look([](Relay& relay) { return relay.to_upstream().spliced_bytes(); }).value();
}

// --- Slow readers

TEST_P(BackPressureTest, AReaderWhoDoesNotReadStopsTheSenderAndHoldsABoundedAmount) {
  RelaySession& session = start(small_buffers());
  const std::uint64_t sent = send_until_held(session, kMuch);
  EXPECT_LT(sent, kMuch);
  EXPECT_GT(held_bytes(session), 0U);
  EXPECT_LE(held_bytes(session), std::max(kPipeBytes, Pump::kMaxHeldBytes));
  EXPECT_TRUE(loop_->sleeps());
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, sent), "");
}

TEST_P(BackPressureTest, AStalledDirectionLeavesTheOtherAlone) {
  constexpr std::uint64_t kSize = 1 << 20;
  RelaySession& session = start(small_buffers());
  test::send_until_full(session.client.get(), kToUpstream, kMuch, 50ms);
  auto sender = test::in_background(
      [&] { return send_in_pieces(session.upstream.get(), kToClient, kSize, test::seed()); });
  EXPECT_EQ(read_whole(session.client.get(), kToClient, kSize), "");
  EXPECT_TRUE(sender.get());
}

TEST_P(BackPressureTest, AReaderWhoReadsInSmallBitesGetsAll) {
  constexpr std::uint64_t kSize = 600'000;
  RelaySession& session = start(small_buffers());
  auto sender = test::in_background(
      [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
  test::PatternChecker checker(kToUpstream);
  EXPECT_EQ(test::read_pattern(session.upstream.get(), checker, {.read_bytes = 700}),
            test::Ending::eof);
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  EXPECT_EQ(checker.received_bytes(), kSize);
  EXPECT_TRUE(sender.get());
}

// A shared buffer is used only within a turn, so stalled readers never delay other streams.
TEST_P(BackPressureTest, MoreStalledReadersThanSharedBuffersHoldUpNobody) {
  constexpr std::size_t kStalled = 80;
  std::vector<std::uint64_t> sent;
  for (std::size_t i = 0; i < kStalled; ++i) {
    RelaySession& session = start(small_buffers());
    sent.push_back(test::send_until_full(session.client.get(), Pattern(i), kMuch, 20ms));
  }
  RelaySession& lively = start();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(test::send_all(lively.client.get(), "ping"));
    ASSERT_EQ(test::receive_text(lively.upstream.get(), 4), "ping");
  }
  // On a busy machine some may not be stalled yet.
  const auto stalled = std::count_if(sessions_.begin(), sessions_.end(),
                                     [](const auto& session) { return held_bytes(*session) > 0; });
  EXPECT_GT(stalled, 64);
  for (std::size_t i = 0; i < kStalled; ++i) {
    test::finish_sending(sessions_[i]->client.get());
    EXPECT_EQ(read_whole(sessions_[i]->upstream.get(), Pattern(i), sent[i]), "");
  }
}

// --- Paused pipes

// Sends to an upstream that does not read, until the relay holds a few bytes permanently.
std::uint64_t fill_until_held(RelaySession& session) {
  std::uint64_t sent = 0;
  for (bool held = false; !held;) {
    EXPECT_TRUE(test::send_pattern(session.client.get(), kToUpstream, sent, 1000));
    sent += 1000;
    EXPECT_TRUE(test::wait_until([&] { return received_bytes(session) == sent; }));
    held = !test::wait_until([&] { return held_bytes(session) == 0; }, Pump::kPipePause / 2);
  }
  return sent;
}

TEST_P(PipePressureTest, APausedPipeWithLittleInItGoesBackToThePool) {
  use_splice(SpliceMode::always);
  RelaySession& session = start({.upstream = test::kSmallBuffers});
  const std::uint64_t sent = fill_until_held(session);
  EXPECT_TRUE(test::wait_until([&] { return !holds_pipe(session); }));
  EXPECT_EQ(lent_pipes(), 0U);
  EXPECT_GT(held_bytes(session), 0U);
  // Later bytes stay behind these.
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, sent, 50'000));
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, sent + 50'000), "");
}

TEST_P(PipePressureTest, APausedPipeWithMuchInItIsKept) {
  use_splice(SpliceMode::always);
  RelaySession& session =
      start({.client = {.near_receive_bytes = 1 << 20}, .upstream = test::kSmallBuffers});
  const std::uint64_t sent = test::send_until_full(session.client.get(), kToUpstream, kMuch, 50ms);
  ASSERT_TRUE(test::wait_until([&] { return held_bytes(session) > 0; }));
  // Everything that is read makes room for more, until the pipe is as full as it gets.
  test::PatternChecker checker(kToUpstream);
  ASSERT_TRUE(test::wait_until([&] {
    test::read_pattern(session.upstream.get(), checker,
                       {.stop_after_bytes = checker.received_bytes() + 2000, .timeout = 100ms});
    return held_bytes(session) > Pump::kMaxHeldBytes && holds_pipe(session);
  }));
  std::this_thread::sleep_for(2 * Pump::kPipePause);
  EXPECT_TRUE(holds_pipe(session));
  test::finish_sending(session.client.get());
  EXPECT_EQ(test::read_pattern(session.upstream.get(), checker), test::Ending::eof);
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  EXPECT_EQ(checker.received_bytes(), sent);
}

// --- No pipes

TEST_P(PipePressureTest, WithoutABudgetBytesAreCopiedAndItIsSaid) {
  constexpr std::uint64_t kSize = 4 << 20;
  use_pool({.pipe_bytes = 65'536, .budget_slots = 0, .thread_pipes = 16});
  for (const SpliceMode mode : {SpliceMode::automatic, SpliceMode::always}) {
    use_splice(mode);
    RelaySession& session = start();
    auto sender = test::in_background(
        [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
    EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, kSize), "");
    EXPECT_TRUE(sender.get());
    EXPECT_EQ(spliced_bytes(session), 0U);
  }
  const std::vector<PipeShortage> seen = shortages();
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(std::all_of(seen.begin(), seen.end(),
                          [](PipeShortage why) { return why == PipeShortage::budget; }));
}

TEST_P(PipePressureTest, AfterAShortageNobodyAsksForAPipeForAWhile) {
  use_pool({.pipe_bytes = 65'536, .budget_slots = 0, .thread_pipes = 16});
  use_splice(SpliceMode::always);
  RelaySession& session = start();
  const TimePoint begin = Clock::now();
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(test::send_all(session.client.get(), "x"));
    ASSERT_EQ(test::receive_text(session.upstream.get(), 1), "x");
  }
  const auto pauses = (Clock::now() - begin) / RelayContext::kShortagePause;
  EXPECT_LE(shortages().size(), static_cast<std::size_t>(pauses) + 2);
}

TEST_P(PipePressureTest, SpliceBeginsAgainOnceThereIsAPipe) {
  use_pool({.pipe_bytes = 65'536, .budget_slots = 16, .thread_pipes = 16});
  use_splice(SpliceMode::always);
  RelaySession& session = start();
  // Takes the only pipe, on the loop's thread: a lease belongs to the thread that took it.
  PipeLease taken = loop_->call([&] { return pool_->acquire(); });
  ASSERT_TRUE(taken);
  std::uint64_t sent = 0;
  const auto exchange = [&] {
    EXPECT_TRUE(test::send_pattern(session.client.get(), kToUpstream, sent, 100));
    sent += 100;
    return test::receive_text(session.upstream.get(), 100).size() == 100;
  };
  ASSERT_TRUE(exchange());
  EXPECT_EQ(spliced_bytes(session), 0U);
  loop_->call([&] { taken.release(); });
  EXPECT_TRUE(test::wait_until([&] { return exchange() && spliced_bytes(session) > 0; }));
}

}  // namespace
}  // namespace sluice
