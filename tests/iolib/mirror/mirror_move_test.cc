// Streams that go along with a relay to another thread.

#include <gtest/gtest.h>
#include <sys/socket.h>

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

// Two threads with a mirror each, of the same server, which is the test's listener.
class MirrorMoveTest : public MoveTest {
 protected:
  void SetUp() override {
    MoveTest::SetUp();
    if (IsSkipped()) return;
    if (GetParam().splice == SpliceMode::never) GTEST_SKIP() << "never streams";
    listener_ = test::listen_tcp();
    mirrors_.resize(2);
    for (Thread* thread : {&first(), &second()}) make_mirror(*thread);
  }
  void TearDown() override {
    MoveTest::TearDown();
    if (mirrors_.empty()) return;
    for (Thread* thread : {&first(), &second()}) {
      const std::unique_ptr<Mirror>& mirror = of(*thread);
      thread->loop.call([&] { mirror->stop(); });
      EXPECT_TRUE(
          test::wait_until([&] { return thread->loop.call([&] { return mirror->size(); }) == 0; }));
      thread->loop.call([&] { of(*thread).reset(); });
    }
  }

  std::unique_ptr<Mirror>& of(Thread& thread) { return mirrors_[&thread == &first() ? 0 : 1]; }
  Mirror& here() { return *mirrors_[0]; }
  Mirror& there() { return *mirrors_[1]; }
  void make_mirror(Thread& thread) {
    const Result<SocketAddress> address = numeric_address({"127.0.0.1", listener_.port});
    Mirror::Options options{.budget_bytes = budget_bytes_, .most_streams = most_streams_};
    options.shedding = &shedding_;
    thread.loop.call([&] {
      of(thread) = std::make_unique<Mirror>(
          thread.loop.reactor(), std::vector<Endpoint>{make_endpoint(*address)}, options);
      of(thread)->on_thread = [this](int index) -> Mirror& {
        return *mirrors_[static_cast<std::size_t>(index)];
      };
    });
  }
  /// A mirrored relay, whose mirror has connected.
  OwnedFd start_mirrored() {
    start([this](Relay& relay) {
      Pump& pump = relay.to_upstream();
      Stream* const stream = here().open({.max_lag_bytes = kNoLagBound});
      ASSERT_NE(stream, nullptr);
      stream->set_direction([&pump, stream] { pump.detach(*stream); }, [&pump] { pump.wake(); });
      pump.attach(*stream);
    });
    return test::accept_from(listener_.fd.get());
  }
  /// Reads all that is mirrored, in the background.
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
    EXPECT_EQ(end(), RelayEnd::closed);
  }
  [[nodiscard]] std::string all_and_fin() {
    return std::to_string(at_upstream_.received_bytes()) + " and FIN";
  }

  test::Listener listener_;
  std::size_t most_streams_ = 100;
  std::size_t budget_bytes_ = kNoLagBound;
  Shedding shedding_;
  std::vector<std::unique_ptr<Mirror>> mirrors_;
};

INSTANTIATE_TEST_SUITE_P(Modes, MirrorMoveTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

TEST_P(MirrorMoveTest, AStreamGoesAlongAndIsWhole) {
  const OwnedFd mirror = start_mirrored();
  std::future<std::string> mirrored = check(mirror.get());
  stream_heavily();
  EXPECT_EQ(moves_, 1);
  EXPECT_EQ(here().count(Count::active), 0U);
  EXPECT_EQ(there().count(Count::active), 1U);
  // Its answers are dropped there as they were here.
  EXPECT_TRUE(test::send_pattern(mirror.get(), kDown, 0, 8 << 20));
  stream_heavily();
  finish();
  EXPECT_EQ(mirrored.get(), all_and_fin());
  test::finish_sending(mirror.get());
  EXPECT_TRUE(test::wait_until([&] { return there().count(Count::active) == 0; }));
  EXPECT_EQ(here().count(Count::bytes) + there().count(Count::bytes),
            at_upstream_.received_bytes());
  EXPECT_GT(there().count(Count::bytes), 0U);
  for (const auto& each : mirrors_) {
    EXPECT_EQ(each->count(Count::lag), 0U);
    EXPECT_EQ(
        each->count(Count::lagged) + each->count(Count::ended) + each->count(Count::unfinished),
        0U);
  }
  EXPECT_EQ(here().count(Count::streams), 1U);
}

TEST_P(MirrorMoveTest, BothDirectionsAtOnce) {
  const OwnedFd mirror = start_mirrored();
  std::future<std::string> mirrored = check(mirror.get());
  const std::uint64_t size = test::by_scale(8U, 32U, 128U) << 20;
  exchange_both_ways(size);
  EXPECT_EQ(mirrored.get(), std::to_string(size) + " and FIN");
}

// On the first thread it stays until the other one has room.
TEST_P(MirrorMoveTest, WhereThereIsNoRoomItDoesNotGo) {
  second().loop.call([&] { of(second()).reset(); });
  most_streams_ = 0;
  make_mirror(second());
  const OwnedFd mirror = start_mirrored();
  std::future<std::string> mirrored = check(mirror.get());
  stream_heavily();
  EXPECT_EQ(moves_, 0);
  finish();
  EXPECT_EQ(mirrored.get(), all_and_fin());
}

TEST_P(MirrorMoveTest, WhoseMirrorStopsIsCutAndTheConnectionGoesOn) {
  const OwnedFd mirror = start_mirrored();
  std::future<std::string> mirrored = check(mirror.get());
  stream_heavily();
  ASSERT_EQ(moves_, 1);
  second().loop.call([&] { there().stop(); });
  EXPECT_NE(mirrored.get().find("reset"), std::string::npos);
  EXPECT_TRUE(test::wait_until([&] { return there().count(Count::active) == 0; }));
  stream_heavily();
  finish();
}

TEST_P(MirrorMoveTest, OneThatBreaksOffAfterTheMoveDoesNoHarm) {
  OwnedFd mirror = start_mirrored();
  auto mirrored = test::in_background([fd = mirror.get()] {
    test::PatternChecker checker(kUp);
    test::read_pattern(fd, checker, {.stop_after_bytes = kBursts * kBurst});
    return checker.mismatch();
  });
  stream_heavily();
  ASSERT_EQ(moves_, 1);
  EXPECT_EQ(mirrored.get(), std::nullopt);
  test::reset(std::move(mirror));
  stream_heavily();
  finish();
  EXPECT_TRUE(test::wait_until([&] { return there().count(Count::active) == 0; }));
  EXPECT_EQ(there().count(Count::ended), 1U);
}

// What waits for a mirror that does not read goes along.
TEST_P(MirrorMoveTest, ABacklogGoesAlong) {
  const OwnedFd mirror = start_mirrored();
  stream_heavily();
  ASSERT_EQ(moves_, 1);
  EXPECT_GT(there().count(Count::lag), 0U);
  EXPECT_EQ(here().count(Count::lag), 0U);
  std::future<std::string> mirrored = check(mirror.get());
  finish();
  EXPECT_EQ(mirrored.get(), all_and_fin());
  EXPECT_FALSE(shedding_.begin()) << "nobody is behind";
}

TEST_P(MirrorMoveTest, ABacklogThatTheOthersBudgetDoesNotBearStays) {
  second().loop.call([&] { of(second()).reset(); });
  budget_bytes_ = 1;
  make_mirror(second());
  const OwnedFd mirror = start_mirrored();
  stream_heavily();
  EXPECT_EQ(moves_, 0);
  EXPECT_GT(here().count(Count::lag), 0U);
  std::future<std::string> mirrored = check(mirror.get());
  finish();
  EXPECT_EQ(mirrored.get(), all_and_fin());
}

// What has ended one way, and is still mirrored, goes along when the other way proves heavy.
TEST_P(MirrorMoveTest, AHalfClosedOnesMirrorGoesAlong) {
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
  EXPECT_EQ(end(), RelayEnd::closed);
  test::finish_sending(mirror.get());
  EXPECT_TRUE(test::wait_until(
      [&] { return here().count(Count::active) + there().count(Count::active) == 0; }));
  EXPECT_EQ(here().count(Count::unfinished) + there().count(Count::unfinished), 0U);
}

}  // namespace
}  // namespace sluice::mirror
