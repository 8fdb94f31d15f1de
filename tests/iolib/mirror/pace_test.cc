#include "iolib/mirror/pace.h"

#include <gtest/gtest.h>

namespace sluice::mirror {
namespace {

using namespace std::chrono_literals;

class PaceTest : public testing::Test {
 protected:
  /// How many connects the pace admits now.
  int admitted() {
    int count = 0;
    while (pace_.admit(now_)) ++count;
    return count;
  }

  static constexpr Duration kInterval = 2ms;
  /// Connects for intervals that were missed.
  static constexpr int kMadeUp = Pace::kSlack / kInterval;

  Pace pace_{kInterval};
  TimePoint now_{1h};
};

TEST_F(PaceTest, AfterABurstOneComesInEachInterval) {
  EXPECT_EQ(pace_.next(now_), now_);
  EXPECT_EQ(admitted(), Pace::kBurst + kMadeUp + 1);
  EXPECT_EQ(pace_.next(now_), now_ + kInterval);
  now_ += kInterval - 1ns;
  EXPECT_EQ(admitted(), 0);
  now_ += 1ns;
  EXPECT_EQ(admitted(), 1);
  EXPECT_EQ(pace_.next(now_), now_ + kInterval);
}

TEST_F(PaceTest, TurnsThatComeLateAreMadeUpFor) {
  static_cast<void>(admitted());
  now_ += 3 * kInterval + 1ms;
  EXPECT_EQ(admitted(), 3);
  EXPECT_EQ(pace_.next(now_), now_ + 1ms);
  now_ += 1h;
  EXPECT_EQ(admitted(), kMadeUp + 1);
}

TEST_F(PaceTest, EachSignOfLifeIsForTwoAndEachPlaceThatIsLeftForOne) {
  static_cast<void>(admitted());
  pace_.sign_of_life();
  EXPECT_EQ(pace_.next(now_), now_);
  EXPECT_EQ(admitted(), 2);
  pace_.place_left();
  EXPECT_EQ(admitted(), 1);
  EXPECT_EQ(pace_.next(now_), now_ + kInterval);
}

TEST_F(PaceTest, MoreThanABurstIsNotSaved) {
  for (int i = 0; i < 1000; ++i) pace_.sign_of_life();
  for (int i = 0; i < 1000; ++i) pace_.place_left();
  EXPECT_TRUE(pace_.is_free());
  EXPECT_EQ(admitted(), Pace::kBurst + kMadeUp + 1);
  for (int i = 0; i < Pace::kBurst / 2; ++i) {
    EXPECT_FALSE(pace_.is_free());
    pace_.place_left();
  }
  EXPECT_TRUE(pace_.is_free());
}

}  // namespace
}  // namespace sluice::mirror
