#include "proxy/log/stats.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>

namespace sluice {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBeyond = DurationCounts::kBounds.size();

TEST(DurationCountsTest, EachCountsOnceAtTheFirstBoundThatItDoesNotExceed) {
  DurationCounts counts;
  for (const Duration duration : {Duration(0), Duration(100us), Duration(101us), Duration(1s),
                                  Duration(1'001ms), Duration(10h), Duration(11h)}) {
    counts.add(duration);
  }
  const auto at = [&](double bound) {
    for (std::size_t i = 0; i < kBeyond; ++i) {
      if (DurationCounts::kBounds[i] == bound) return counts.count(i);
    }
    return std::uint64_t{99};
  };
  EXPECT_EQ(at(0.0001), 2U) << "a bound is included";
  EXPECT_EQ(at(0.00025), 1U);
  EXPECT_EQ(at(1.0), 1U);
  EXPECT_EQ(at(2.5), 1U);
  EXPECT_EQ(at(36000.0), 1U);
  EXPECT_EQ(counts.count(kBeyond), 1U);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i <= kBeyond; ++i) sum += counts.count(i);
  EXPECT_EQ(sum, 7U);
  EXPECT_EQ(counts.total_ns(), static_cast<std::uint64_t>(
                                   std::chrono::nanoseconds(201us + 1s + 1'001ms + 21h).count()));
}

TEST(TallyTest, TheSumOfTalliesIsRightThoughOneIsBelowZero) {
  Tally began;
  Tally ended;
  began.add();
  began.add();
  ended.subtract();
  EXPECT_EQ(began + ended, 1U);
}

}  // namespace
}  // namespace sluice
