#include "iolib/balance/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace sluice::balance {
namespace {

// The first numbers that SplitMix64 is published with for this seed.
TEST(Random, TheSameSeedGivesTheSameNumbers) {
  Random random(1'234'567);
  EXPECT_EQ(random.next(), 6'457'827'717'110'365'317U);
  EXPECT_EQ(random.next(), 3'203'168'211'198'807'973U);
  EXPECT_EQ(random.next(), 9'817'491'932'198'370'423U);
}

TEST(Random, BelowIsFairAndStaysBelow) {
  constexpr std::size_t kBound = 7;
  constexpr double kDraws = 70'000;
  std::array<double, kBound> counts{};
  Random random(1);
  for (int i = 0; i < kDraws; ++i) ++counts.at(random.below(kBound));
  for (const double count : counts) {
    EXPECT_NEAR(count, kDraws / kBound, 4 * std::sqrt(kDraws / kBound));
  }
  EXPECT_EQ(random.below(1), 0U);
}

// Four draws are for three results. Unless one of the four is repeated, multiples of three come
// twice as often as others.
TEST(Random, BelowIsFairWithALargeBound) {
  constexpr std::uint64_t kBound = std::uint64_t{3} << 62;
  constexpr double kDraws = 30'000;
  std::array<double, 3> counts{};
  Random random(2);
  for (int i = 0; i < kDraws; ++i) {
    const std::uint64_t drawn = random.below(kBound);
    ASSERT_LT(drawn, kBound);
    ++counts.at(drawn % 3);
  }
  for (const double count : counts) EXPECT_NEAR(count, kDraws / 3, 4 * std::sqrt(kDraws / 3));
}

TEST(Random, UnitIsFromZeroToLessThanOne) {
  constexpr int kDraws = 100'000;
  Random random(3);
  double sum = 0;
  double least = 1;
  double most = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double drawn = random.unit();
    sum += drawn;
    least = std::min(least, drawn);
    most = std::max(most, drawn);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.004);
  EXPECT_GE(least, 0);
  EXPECT_LT(least, 0.001);
  EXPECT_LT(most, 1);
  EXPECT_GT(most, 0.999);
}

}  // namespace
}  // namespace sluice::balance
