#include "iolib/mirror/pace.h"

#include <gtest/gtest.h>

namespace sluice::mirror {
namespace {

using namespace std::chrono_literals;

class PaceTest : public testing::Test {
 protected:
  /// How many may connect now.
  int admitted() {
    int count = 0;
    while (pace_.admit(now_)) ++count;
    return count;
  }

  Pace pace_{2ms};
  TimePoint now_{1h};
};

TEST_F(PaceTest, AfterABurstOneComesInEachInterval) {
  EXPECT_EQ(pace_.next(now_), now_);
  EXPECT_EQ(admitted(), Pace::kBurst + 1);
  EXPECT_EQ(pace_.next(now_), now_ + 2ms);
  now_ += 2ms - 1ns;
  EXPECT_EQ(admitted(), 0);
  now_ += 1ns;
  EXPECT_EQ(admitted(), 1);
  EXPECT_EQ(pace_.next(now_), now_ + 2ms);
}

TEST_F(PaceTest, TimeIsNotSaved) {
  EXPECT_EQ(admitted(), Pace::kBurst + 1);
  now_ += 1h;
  EXPECT_EQ(admitted(), 1);
}

TEST_F(PaceTest, EachSignOfLifeIsForTwo) {
  EXPECT_EQ(admitted(), Pace::kBurst + 1);
  pace_.sign_of_life();
  EXPECT_EQ(pace_.next(now_), now_);
  EXPECT_EQ(admitted(), 2);
  EXPECT_EQ(pace_.next(now_), now_ + 2ms);
}

TEST_F(PaceTest, MoreThanABurstIsNotSaved) {
  for (int i = 0; i < 1000; ++i) pace_.sign_of_life();
  EXPECT_EQ(admitted(), Pace::kBurst + 1);
}

}  // namespace
}  // namespace sluice::mirror
