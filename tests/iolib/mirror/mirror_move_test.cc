// Mirrored relays stay on the thread of their mirror's streams.

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "iolib/mirror/mirror.h"
#include "iolib/mirror/stream.h"
#include "tests/iolib/relay/move_fixture.h"
#include "tests/support/in_background.h"

namespace sluice::mirror {
namespace {

using test::Ending;

constexpr std::uint64_t kNoLagBound = 1 << 30;

// The first thread has a mirror: the test's listener.
class MirrorMoveTest : public MoveTest {
 protected:
  void SetUp() override {
    MoveTest::SetUp();
    if (IsSkipped()) return;
    if (GetParam().splice == SpliceMode::never) GTEST_SKIP() << "never streams";
    listener_ = test::listen_tcp();
    const Result<SocketAddress> address = numeric_address({"127.0.0.1", listener_.port});
    first().loop.call([&] {
      mirror_ = std::make_unique<Mirror>(first().loop.reactor(),
                                         std::vector<Endpoint>{make_endpoint(*address)},
                                         Mirror::Options{.budget_bytes = kNoLagBound});
    });
  }
  void TearDown() override {
    MoveTest::TearDown();
    if (!mirror_) return;
    stop_mirror();
    first().loop.call([this] { mirror_.reset(); });
  }

  void stop_mirror() {
    first().loop.call([this] { mirror_->stop(); });
    EXPECT_TRUE(test::wait_until([this] { return mirror_->count(Count::active) == 0; }));
  }
  /// A mirrored relay whose mirror has connected.
  OwnedFd start_mirrored() {
    start([this](Relay& relay) {
      Pump& pump = relay.to_upstream();
      Stream* const stream = mirror_->open({.max_lag_bytes = kNoLagBound});
      ASSERT_NE(stream, nullptr);
      stream->set_direction([&pump, stream] { pump.detach(*stream); });
      pump.attach(*stream);
    });
    return test::accept_from(listener_.fd.get());
  }
  /// Reads everything that is mirrored, in the background.
  [[nodiscard]] std::future<std::string> check(int mirror) {
    return test::in_background([mirror] {
      test::PatternChecker checker(kUp);
      const Ending ending = test::read_pattern(mirror, checker);
      if (checker.mismatch()) return "a wrong byte at " + std::to_string(*checker.mismatch());
      return std::to_string(checker.received_bytes()) +
             (ending == Ending::eof ? " and FIN" : " and a reset");
    });
  }
  void finish() {
    test::finish_sending(client_.get());
    EXPECT_EQ(test::read_pattern(upstream_.get(), at_upstream_), Ending::eof);
    test::finish_sending(upstream_.get());
    EXPECT_EQ(end(), EndReason::closed);
  }
  [[nodiscard]] std::string all_and_fin() {
    return std::to_string(at_upstream_.received_bytes()) + " and FIN";
  }

  test::Listener listener_;
  std::unique_ptr<Mirror> mirror_;  ///< used on the first thread only, except its counts
};

INSTANTIATE_TEST_SUITE_P(Modes, MirrorMoveTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

TEST_P(MirrorMoveTest, AHeavyStreamStaysAndIsWhole) {
  const OwnedFd mirror = start_mirrored();
  std::future<std::string> mirrored = check(mirror.get());
  stream_heavily();
  EXPECT_TRUE(test::send_pattern(mirror.get(), kDown, 0, 8 << 20));
  stream_heavily();
  EXPECT_EQ(moves_, 0);
  finish();
  EXPECT_EQ(mirrored.get(), all_and_fin());
  test::finish_sending(mirror.get());
  EXPECT_TRUE(test::wait_until([this] { return mirror_->count(Count::active) == 0; }));
  EXPECT_EQ(mirror_->count(Count::bytes), at_upstream_.received_bytes());
  EXPECT_EQ(mirror_->count(Count::lag) + mirror_->count(Count::lagged) +
                mirror_->count(Count::ended) + mirror_->count(Count::unfinished),
            0U);
}

TEST_P(MirrorMoveTest, BothDirectionsAtOnce) {
  const OwnedFd mirror = start_mirrored();
  std::future<std::string> mirrored = check(mirror.get());
  const std::uint64_t size = test::by_scale(8U, 32U, 128U) << 20;
  exchange_both_ways(size);
  EXPECT_EQ(moves_, 0);
  EXPECT_EQ(mirrored.get(), std::to_string(size) + " and FIN");
}

TEST_P(MirrorMoveTest, WhatWaitsForOneThatDoesNotReadIsWholeAfterAll) {
  const OwnedFd mirror = start_mirrored();
  stream_heavily();
  EXPECT_GT(mirror_->count(Count::lag), 0U);
  std::future<std::string> mirrored = check(mirror.get());
  finish();
  EXPECT_EQ(mirrored.get(), all_and_fin());
}

TEST_P(MirrorMoveTest, WhoseMirrorWasStoppedMovesAndGoesOn) {
  const OwnedFd mirror = start_mirrored();
  std::future<std::string> mirrored = check(mirror.get());
  stream_heavily();
  ASSERT_EQ(moves_, 0);
  stop_mirror();
  EXPECT_NE(mirrored.get().find("reset"), std::string::npos);
  stream_heavily();
  EXPECT_EQ(moves_, 1);
  finish();
}

TEST_P(MirrorMoveTest, WhoseMirrorBrokeOffMovesAndGoesOn) {
  OwnedFd mirror = start_mirrored();
  auto mirrored = test::in_background([fd = mirror.get()] {
    test::PatternChecker checker(kUp);
    test::read_pattern(fd, checker, {.stop_after_bytes = kBursts * kBurst});
    return checker.mismatch();
  });
  stream_heavily();
  EXPECT_EQ(mirrored.get(), std::nullopt);
  test::reset(std::move(mirror));
  EXPECT_TRUE(test::wait_until([this] { return mirror_->count(Count::active) == 0; }));
  EXPECT_EQ(mirror_->count(Count::ended), 1U);
  stream_heavily();
  EXPECT_EQ(moves_, 1);
  finish();
}

// A direction that has ended is still mirrored when the other one becomes heavy.
TEST_P(MirrorMoveTest, AHalfClosedOneStaysAsWell) {
  const OwnedFd mirror = start_mirrored();
  ASSERT_TRUE(test::send_pattern(client_.get(), kUp, 0, 1000));
  test::finish_sending(client_.get());
  EXPECT_EQ(read_whole(upstream_.get(), kUp, 1000), "");
  EXPECT_EQ(read_whole(mirror.get(), kUp, 1000), "");
  constexpr std::uint64_t kSize = 64 << 20;
  auto sender = test::in_background(
      [&] { return send_in_pieces(upstream_.get(), kDown, kSize, test::seed()); });
  EXPECT_EQ(read_whole(client_.get(), kDown, kSize), "");
  EXPECT_TRUE(sender.get());
  EXPECT_EQ(end(), EndReason::closed);
  EXPECT_EQ(moves_, 0);
  test::finish_sending(mirror.get());
  EXPECT_TRUE(test::wait_until([this] { return mirror_->count(Count::active) == 0; }));
  EXPECT_EQ(mirror_->count(Count::unfinished), 0U);
}

}  // namespace
}  // namespace sluice::mirror
