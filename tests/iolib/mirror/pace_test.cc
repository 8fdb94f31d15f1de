#include "iolib/mirror/pace.h"

#include <gtest/gtest.h>

namespace sluice::mirror {
namespace {

using namespace std::chrono_literals;

class PaceTest : public testing::Test {
 protected:
  /// Connects as many as may come at once.
  void burst() {
    for (int i = 0; i < Pace::kBurst; ++i) EXPECT_LE(pace_.next(now_), now_) << i;
  }

  Pace pace_{2ms};
  TimePoint now_{1h};
};

TEST_F(PaceTest, AfterABurstOneComesInEachInterval) {
  burst();
  EXPECT_EQ(pace_.next(now_), now_ + 2ms);
  EXPECT_EQ(pace_.next(now_), now_ + 4ms);
  now_ += 3ms;
  EXPECT_EQ(pace_.next(now_), now_ + 3ms);
}

TEST_F(PaceTest, SignsOfLifeMakeUpForAsMany) {
  burst();
  for (int i = 0; i < 3; ++i) pace_.sign_of_life();
  for (int i = 0; i < 3; ++i) EXPECT_LE(pace_.next(now_), now_);
  EXPECT_EQ(pace_.next(now_), now_ + 2ms);
}

TEST_F(PaceTest, SignsOfLifeAreNotSaved) {
  for (int i = 0; i < 1000; ++i) pace_.sign_of_life();
  burst();
  EXPECT_EQ(pace_.next(now_), now_ + 2ms);
}

TEST_F(PaceTest, TimeMakesUpForAllOfThem) {
  burst();
  now_ += Pace::kBurst * 2ms;
  burst();
  EXPECT_EQ(pace_.next(now_), now_ + 2ms);
}

}  // namespace
}  // namespace sluice::mirror
