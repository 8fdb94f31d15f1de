#include "iolib/mirror/breaker.h"

#include <gtest/gtest.h>

namespace sluice::mirror {
namespace {

using namespace std::chrono_literals;
using State = Breaker::State;

class BreakerTest : public testing::Test {
 protected:
  /// After a failure, the breaker admits nothing for the time that it reports, then one.
  Duration open_and_wait(bool probe) {
    breaker_.failed(now_, probe);
    EXPECT_EQ(breaker_.state(), State::open);
    const Duration open = breaker_.open_until() - now_;
    now_ += open - 1ns;
    EXPECT_FALSE(breaker_.admit(now_));
    now_ += 1ns;
    EXPECT_TRUE(breaker_.admit(now_));
    EXPECT_EQ(breaker_.state(), State::half_open);
    return open;
  }

  Breaker breaker_{7};
  TimePoint now_{1h};
};

TEST_F(BreakerTest, ClosedLetsEverybodyThrough) {
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(breaker_.admit(now_));
  EXPECT_EQ(breaker_.state(), State::closed);
}

TEST_F(BreakerTest, HalfOpenLetsOneThrough) {
  open_and_wait(false);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(breaker_.admit(now_ + i * 1h));
}

TEST_F(BreakerTest, TheProbesSuccessClosesIt) {
  open_and_wait(false);
  breaker_.succeeded();
  EXPECT_EQ(breaker_.state(), State::closed);
  EXPECT_TRUE(breaker_.admit(now_));
  EXPECT_TRUE(breaker_.admit(now_));
}

TEST_F(BreakerTest, TheProbesFailureOpensItAgain) {
  open_and_wait(false);
  open_and_wait(true);
}

TEST_F(BreakerTest, OnlyTheProbesFailureOpensAHalfOpenOne) {
  open_and_wait(false);
  breaker_.failed(now_, false);
  EXPECT_EQ(breaker_.state(), State::half_open);
  breaker_.failed(now_, true);
  EXPECT_EQ(breaker_.state(), State::open);
}

TEST_F(BreakerTest, WhoFailsLateDoesNotKeepItOpenForLonger) {
  breaker_.failed(now_, false);
  const TimePoint until = breaker_.open_until();
  breaker_.failed(now_ + 100ms, false);
  EXPECT_EQ(breaker_.open_until(), until);
}

TEST_F(BreakerTest, WhoSucceedsLateClosesIt) {
  breaker_.failed(now_, false);
  breaker_.succeeded();
  EXPECT_TRUE(breaker_.admit(now_));
}

TEST_F(BreakerTest, ItsTimesGrowWithJitterAndWithinBounds) {
  Duration span = Breaker::kFirstSpan;
  bool probe = false;
  for (int i = 0; i < 200; ++i) {
    const Duration open = open_and_wait(probe);
    probe = true;
    EXPECT_GE(open, Breaker::kLeastOpen);
    EXPECT_LE(open, Breaker::kLeastOpen + span);
    span = std::min(2 * span, Breaker::kLongestSpan);
  }
  // Full jitter: many tries cover the whole span.
  Duration shortest = 1h;
  Duration longest = 0s;
  for (int i = 0; i < 500; ++i) {
    const Duration open = open_and_wait(true);
    shortest = std::min(shortest, open);
    longest = std::max(longest, open);
  }
  EXPECT_LT(shortest, Breaker::kLeastOpen + Breaker::kLongestSpan / 20);
  EXPECT_GT(longest, Breaker::kLeastOpen + Breaker::kLongestSpan * 19 / 20);
  breaker_.succeeded();
  EXPECT_LE(open_and_wait(false), Breaker::kLeastOpen + Breaker::kFirstSpan);
}

TEST_F(BreakerTest, TheRetryHasABound) {
  for (int i = 0; i < 1000; ++i) {
    const Duration pause = breaker_.retry_pause();
    EXPECT_GE(pause, 0s);
    EXPECT_LE(pause, Breaker::kRetrySpan);
  }
}

}  // namespace
}  // namespace sluice::mirror
