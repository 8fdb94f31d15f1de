#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/iolib/relay/move_fixture.h"
#include "tests/iolib/relay/test_tap.h"
#include "tests/support/in_background.h"

namespace sluice {
namespace {

using test::Ending;

INSTANTIATE_TEST_SUITE_P(Modes, MoveTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

TEST_P(MoveTest, NoByteIsLostOrRepeatedWhenAStreamMoves) {
  start();
  exchange_both_ways(test::by_scale(2U, 8U, 64U) << 20);
  EXPECT_LE(moves_, 1);
  EXPECT_TRUE(GetParam().splice != SpliceMode::never || moves_ == 0);
}

TEST_P(MoveTest, AHeavyStreamMovesOnceAndGoesOn) {
  if (GetParam().splice == SpliceMode::never) GTEST_SKIP() << "never streams";
  start();
  stream_heavily();
  EXPECT_EQ(moves_, 1);
  answer_and_end();
}

TEST_P(MoveTest, WhoIsToldToStayStays) {
  chosen_ = -1;
  start();
  exchange_both_ways(2 << 20);
  EXPECT_EQ(moves_, 0);
}

TEST_P(MoveTest, ATappedConnectionStaysWhereItsTapsAre) {
  TestTap tap(kUp);
  start([&](Relay& relay) { relay.to_upstream().attach(tap); });
  exchange_both_ways(2 << 20);
  EXPECT_EQ(moves_, 0);
  EXPECT_TRUE(tap.content());
  EXPECT_EQ(tap.bytes, 2U << 20);
}

TEST_P(MoveTest, WhoseTapsHaveLeftMoves) {
  if (GetParam().splice == SpliceMode::never) GTEST_SKIP() << "never streams";
  TestTap tap(kUp);
  Pump* pump = nullptr;
  start([&](Relay& relay) {
    pump = &relay.to_upstream();
    pump->attach(tap);
  });
  stream_heavily();
  EXPECT_EQ(moves_, 0);
  first().loop.call([&] { pump->detach(tap); });
  stream_heavily();
  EXPECT_EQ(moves_, 1);
  EXPECT_TRUE(tap.content());
  test::finish_sending(client_.get());
  EXPECT_EQ(test::read_pattern(upstream_.get(), at_upstream_), Ending::eof);
  test::finish_sending(upstream_.get());
  EXPECT_EQ(end(), EndReason::closed);
  EXPECT_FALSE(tap.totals.has_value());
}

/// Work to do before the loop's next turn.
class Then final : public Timer {
 public:
  explicit Then(std::function<void()> work) : work_(std::move(work)) {}

 private:
  void expired() override { work_(); }
  std::function<void()> work_;
};

// When the relay is stopped, the other direction's receive is still being cancelled.
TEST_P(MoveTest, WhoIsStoppedOnTheWayEndsWhereItArrives) {
  if (GetParam().splice == SpliceMode::never) GTEST_SKIP() << "never streams";
  Relay* stopped = nullptr;
  Then stop([&] {
    // It already counts on its new thread, so that not all streams choose the same one.
    EXPECT_EQ(first().streams(), 0U);
    EXPECT_EQ(second().streams(), 1U);
    stopped->stop(EndReason::drain_timeout);
  });
  start([&](Relay& relay) {
    stopped = &relay;
    first().context->choose_thread = [&] {
      first().loop.reactor().set_timer(stop, TimePoint());
      return 1;
    };
  });
  const std::string burst(kBurst, '\0');
  EXPECT_TRUE(test::wait_until([&] {
    static_cast<void>(
        ::send(client_.get(), burst.data(), burst.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
    static_cast<void>(::recv(upstream_.get(), nullptr, 1 << 20, MSG_TRUNC | MSG_DONTWAIT));
    return moves_ > 0;
  }));
  EXPECT_EQ(end(), EndReason::drain_timeout);
}

TEST_P(MoveTest, AResetAfterTheMoveIsPassedOn) {
  start();
  stream_heavily();
  EXPECT_EQ(moves_, GetParam().splice == SpliceMode::never ? 0 : 1);
  test::reset(std::move(client_));
  EXPECT_EQ(test::read_pattern(upstream_.get(), at_upstream_), Ending::reset);
  EXPECT_EQ(end(), EndReason::client_reset);
}

TEST_P(MoveTest, AHalfClosedConnectionGoesOnAfterTheMove) {
  start();
  stream_heavily();
  EXPECT_EQ(moves_, GetParam().splice == SpliceMode::never ? 0 : 1);
  test::finish_sending(client_.get());
  EXPECT_EQ(test::read_pattern(upstream_.get(), at_upstream_), Ending::eof);
  auto sender = test::in_background(
      [&] { return send_in_pieces(upstream_.get(), kDown, 2 << 20, test::seed()); });
  EXPECT_EQ(read_whole(client_.get(), kDown, 2 << 20), "");
  EXPECT_TRUE(sender.get());
  EXPECT_EQ(end(), EndReason::closed);
}

// The other direction is heavy as well, and is cancelled in the middle. It must not take a pipe
// along.
TEST_P(MoveTest, NoPipeMovesAlong) {
  for (int i = 0; i < 3; ++i) {
    start();
    auto upstream_sends = test::in_background(
        [&] { return send_in_pieces(upstream_.get(), kDown, 8 << 20, test::seed()); });
    auto at_client = test::in_background([&] { return read_whole(client_.get(), kDown, 8 << 20); });
    stream_heavily();
    test::finish_sending(client_.get());
    EXPECT_EQ(at_client.get(), "");
    EXPECT_TRUE(upstream_sends.get());
    EXPECT_EQ(end(), EndReason::closed);
  }
}

// A message of the other direction is received, and its send queued, in the turn in which the relay
// begins to move: before that, or behind it.
TEST_P(MoveTest, AMessageThatIsBeingSentWhenItMovesArrivesOnce) {
  constexpr std::size_t kMessageBytes = 100;
  for (const bool is_before : {true, false}) {
    start();
    std::uint64_t sent = 0;
    const std::function<void()> answer = [&] {
      EXPECT_TRUE(test::send_pattern(upstream_.get(), kDown, sent, kMessageBytes));
      sent += kMessageBytes;
    };
    const std::function<void()> nothing = [] {};
    is_before ? stream_heavily(answer, nothing) : stream_heavily(nothing, answer);
    EXPECT_EQ(moves_, GetParam().splice == SpliceMode::never ? 0 : 1);
    test::finish_sending(client_.get());
    EXPECT_EQ(test::read_pattern(upstream_.get(), at_upstream_), Ending::eof);
    test::finish_sending(upstream_.get());
    EXPECT_EQ(read_whole(client_.get(), kDown, sent), "");
    EXPECT_EQ(end(), EndReason::closed);
  }
}

// The first thread has forgotten the sockets that moved away. Other sockets get their numbers.
TEST_P(MoveTest, TheNumbersOfMovedSocketsCanBeUsedAgainOnTheFirstThread) {
  start();
  stream_heavily();
  test::finish_sending(client_.get());
  test::finish_sending(upstream_.get());
  EXPECT_EQ(end(), EndReason::closed);
  start();
  ASSERT_TRUE(test::send_all(client_.get(), "question"));
  EXPECT_EQ(test::receive_text(upstream_.get(), 8), "question");
  ASSERT_TRUE(test::send_all(upstream_.get(), "answer"));
  EXPECT_EQ(test::receive_text(client_.get(), 6), "answer");
  EXPECT_EQ(moves_, 0);
  EXPECT_TRUE(first().loop.sleeps());
}

}  // namespace
}  // namespace sluice
