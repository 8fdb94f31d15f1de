#include "iolib/balance/bandwidth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "iolib/balance/random.h"

namespace sluice::balance {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = 1 << 20;

/// Streams that always have bytes to read, on a simulated clock. Each looks again when its throttle
/// says so, or up to `lag_` later, as on a busy machine.
class BandwidthTest : public testing::Test {
 protected:
  struct Stream {
    std::unique_ptr<Throttle> throttle;
    TimePoint next;
    std::uint64_t moved = 0;
    std::size_t reads = SIZE_MAX;  ///< of what it may read, at most this
  };

  Stream& add(std::uint64_t own, SharedBandwidth* shared) {
    streams_.push_back({std::make_unique<Throttle>(own, shared), now_});
    return streams_.back();
  }
  [[nodiscard]] TimePoint late(TimePoint time) {
    return time + Duration(lag_.count() > 0
                               ? random_.below(static_cast<std::uint64_t>(lag_.count()))
                               : std::uint64_t{0});
  }
  void look(Stream& stream) {
    const std::size_t may = stream.throttle->ask(now_, kUnread);
    if (may == 0) {
      stream.next = late(stream.throttle->next_look(now_));
      EXPECT_GT(stream.next, now_) << "it would spin";
      return;
    }
    const std::size_t moved = std::min(may, stream.reads);
    stream.throttle->spend(now_, moved);
    stream.moved += moved;
    stream.next = late(now_ + 1us);
  }
  void run_for(Duration time) {
    const TimePoint end = now_ + time;
    for (;;) {
      const auto first = std::ranges::min_element(streams_, {}, &Stream::next);
      if (first == streams_.end() || first->next > end) break;
      now_ = std::max(now_, first->next);
      look(*first);
    }
    now_ = end;
  }
  [[nodiscard]] std::uint64_t moved() const {
    return std::accumulate(
        streams_.begin(), streams_.end(), std::uint64_t{0},
        [](std::uint64_t sum, const Stream& stream) { return sum + stream.moved; });
  }
  /// All that a limit lets through in this time, from a full bucket.
  [[nodiscard]] static std::uint64_t most(std::uint64_t rate, std::chrono::seconds time) {
    return rate * static_cast<std::uint64_t>(time.count()) + burst_of(rate);
  }

  static constexpr std::size_t kUnread = 4 << 20;
  TimePoint now_{1h};
  Duration lag_ = Duration::zero();
  Random random_{7};
  std::deque<SharedBandwidth> limits_;
  std::vector<Stream> streams_;  ///< borrow from the limits
};

TEST_F(BandwidthTest, AStreamGetsItsRateHoweverLateItLooks) {
  for (const std::uint64_t rate : {std::uint64_t{10'000}, 3 * kMiB, 50 * kMiB, 200 * kMiB}) {
    for (const Duration lag : {Duration(0), Duration(30ms)}) {
      streams_.clear();
      lag_ = lag;
      add(rate, nullptr);
      run_for(10s);
      EXPECT_LE(moved(), most(rate, 10s)) << rate;
      EXPECT_GE(moved(), most(rate, 10s) - slice_of(rate) - rate * 30 / 1000) << rate;
    }
  }
}

TEST_F(BandwidthTest, AHundredStreamsShareALimitAlikeWhateverTheyRead) {
  const std::uint64_t rate = 10 * kMiB;
  SharedBandwidth& shared = limits_.emplace_back(rate);
  for (int i = 0; i < 100; ++i) add(0, &shared).reads = i % 2 == 0 ? SIZE_MAX : 20'000;
  run_for(1s);  // one of them gets the first burst
  for (Stream& each : streams_) each.moved = 0;
  run_for(10s);
  EXPECT_NEAR(static_cast<double>(moved()), 10.0 * rate, 2.0 * static_cast<double>(slice_of(rate)));
  // Half of them take part of each slice only, and nothing of the rest is lost.
  for (std::size_t i = 2; i < streams_.size(); ++i) {
    const auto fair = static_cast<double>(streams_[i % 2].moved);
    EXPECT_NEAR(static_cast<double>(streams_[i].moved), fair, fair / 20) << i;
  }
}

TEST_F(BandwidthTest, WhoComesLateWaitsForOneTurnOfEveryOther) {
  const std::uint64_t rate = 10 * kMiB;
  SharedBandwidth& shared = limits_.emplace_back(rate);
  for (int i = 0; i < 50; ++i) add(0, &shared);
  run_for(5s);
  Throttle late_one(0, &shared);
  EXPECT_EQ(late_one.ask(now_, 100), 0U);
  run_for(50 * 5ms + 1ms);
  EXPECT_EQ(late_one.ask(now_, 100), 100U);
}

TEST_F(BandwidthTest, TheLowerOfBothLimitsHolds) {
  SharedBandwidth& wide = limits_.emplace_back(100 * kMiB);
  add(3 * kMiB, &wide);
  run_for(10s);
  EXPECT_LE(moved(), most(3 * kMiB, 10s));
  EXPECT_GE(moved(), most(3 * kMiB, 10s) - slice_of(3 * kMiB));
  streams_.clear();
  SharedBandwidth& narrow = limits_.emplace_back(kMiB);
  add(3 * kMiB, &narrow);
  run_for(10s);
  EXPECT_LE(moved(), most(kMiB, 10s));
  EXPECT_GE(moved(), most(kMiB, 10s) - slice_of(kMiB));
}

TEST_F(BandwidthTest, AnEndIsFoundWithoutAPauseAndItsBytesCount) {
  const std::uint64_t rate = 1'000;
  SharedBandwidth& shared = limits_.emplace_back(rate);
  Throttle other(0, &shared);
  other.spend(now_, burst_of(rate));
  Throttle stream(rate, &shared);
  EXPECT_EQ(stream.ask(now_, 0), 1U);
  stream.spend(now_, 1);
  EXPECT_EQ(stream.ask(now_, 1), 0U);
  EXPECT_EQ(stream.next_look(now_), now_ + 2ms);
}

TEST_F(BandwidthTest, WhatAStreamLeavesBehindIsThereForTheOthers) {
  const std::uint64_t rate = kMiB;
  SharedBandwidth& shared = limits_.emplace_back(rate);
  {
    Throttle first(0, &shared);
    first.spend(now_, burst_of(rate));
    EXPECT_EQ(first.ask(now_, kUnread), 0U);
  }
  Throttle second(0, &shared);
  EXPECT_EQ(second.ask(now_, 1'000), 0U);
  EXPECT_EQ(second.next_look(now_), now_ + 953'675ns);
}

TEST_F(BandwidthTest, AChangedLimitHoldsAtOnceAndForThoseWhoWait) {
  SharedBandwidth& shared = limits_.emplace_back(1'000);
  for (int i = 0; i < 100; ++i) add(0, &shared);
  run_for(2s);
  const std::uint64_t before = moved();
  shared.set(10 * kMiB);
  run_for(10s);
  EXPECT_LE(moved() - before, most(10 * kMiB, 10s));
  EXPECT_GE(moved() - before, 99 * kMiB - 100 * slice_of(10 * kMiB));
  shared.set(0);
  Throttle& first = *streams_.front().throttle;
  EXPECT_EQ(first.next_look(now_), now_);
  EXPECT_EQ(first.ask(now_, kUnread), kUnread);
}

TEST_F(BandwidthTest, TheSameLimitAgainChangesNothing) {
  SharedBandwidth& shared = limits_.emplace_back(1'000);
  const std::uint32_t term = shared.term();
  shared.set(1'000);
  EXPECT_EQ(shared.term(), term);
  Throttle stream(0, &shared);
  stream.spend(now_, burst_of(1'000));
  shared.set(1'000);
  EXPECT_EQ(stream.ask(now_, 1), 0U);
}

TEST_F(BandwidthTest, AStreamThatBeganWithoutALimitOfItsRouteStaysSo) {
  Throttle stream(kMiB, nullptr);
  stream.spend(now_, burst_of(kMiB));
  EXPECT_EQ(stream.ask(now_, kUnread), 0U);
  EXPECT_GT(stream.next_look(now_), now_ + 4ms);
  EXPECT_LE(stream.next_look(now_), now_ + 5ms);
}

TEST(SharedBandwidthTest, ThreadsTakeNoMoreThanThereIs) {
  constexpr std::uint64_t kRate = 100 * kMiB;
  constexpr int kThreads = 4;
  SharedBandwidth shared(kRate);
  const TimePoint begin{1h};
  std::vector<std::uint64_t> moved(kThreads);
  std::vector<std::thread> threads;
  for (auto& bytes : moved) {
    threads.emplace_back([&] {
      Throttle stream(0, &shared);
      for (TimePoint now = begin; now <= begin + 1s;) {
        const std::size_t may = stream.ask(now, 1 << 20);
        if (may > 0) stream.spend(now, may);
        bytes += may;
        now = may > 0 ? now : stream.next_look(now);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::uint64_t sum = std::accumulate(moved.begin(), moved.end(), std::uint64_t{0});
  EXPECT_LE(sum, kRate + burst_of(kRate));
  EXPECT_GE(sum, kRate);
}

}  // namespace
}  // namespace sluice::balance
