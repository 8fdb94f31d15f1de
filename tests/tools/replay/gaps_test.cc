#include "tools/replay/gaps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "tests/support/settings.h"

namespace sluice::replay {
namespace {

constexpr std::uint64_t kAnyLength = std::numeric_limits<std::uint64_t>::max();
/// Runs with the times of each.
using Runs = std::vector<std::vector<std::uint64_t>>;

Gaps gaps_of(const Runs& runs, std::uint64_t longest = kAnyLength) {
  Activity activity(longest);
  for (std::size_t run = 0; run < runs.size(); ++run) {
    for (const std::uint64_t at : runs[run]) EXPECT_TRUE(activity.note(run, at));
  }
  return activity.gaps();
}

TEST(Gaps, OfNothingOrOneRunSkipNothing) {
  EXPECT_EQ(gaps_of({}).without(77), 77U);
  const Gaps gaps = gaps_of({{10, 1000, 900'000}});
  EXPECT_EQ(gaps.without(900'000), 900'000U);
  EXPECT_EQ(gaps.between_runs().count + gaps.shortened().count, 0U);
}

TEST(Gaps, BetweenRunsAreSkippedWhateverTheyAre) {
  // Read in another order than that of their times; the middle two overlap.
  const Gaps gaps = gaps_of({{50'000, 50'100}, {0, 10}, {300, 400}, {350, 500}});
  EXPECT_EQ(gaps.without(10), 10U);
  EXPECT_EQ(gaps.without(300), 10U);
  EXPECT_EQ(gaps.without(350), 60U);
  EXPECT_EQ(gaps.without(500), 210U);
  EXPECT_EQ(gaps.without(50'000), 210U);
  EXPECT_EQ(gaps.without(50'100), 310U);
  EXPECT_EQ(gaps.between_runs().count, 2U);
  EXPECT_EQ(gaps.between_runs().ns, 290U + 49'500U);
}

TEST(Gaps, OfARunAreShortenedToTheLongest) {
  // Two workers of a run, one after the other: from 100 to 200 there is no gap.
  const Gaps gaps = gaps_of({{0, 100, 5000, 5050, 120, 200, 5020}}, 90);
  EXPECT_EQ(gaps.without(200), 190U);
  EXPECT_EQ(gaps.without(5000), 280U);
  EXPECT_EQ(gaps.without(5050), 330U);
  EXPECT_EQ(gaps.shortened().count, 2U) << "from 0 to 100, and from 200 to 5000";
}

TEST(Gaps, OfOneLengthAreNotShortenedToIt) {
  EXPECT_EQ(gaps_of({{0, 90, 180}}, 90).shortened().count, 0U);
  EXPECT_EQ(gaps_of({{0, 90, 181}}, 90).shortened().ns, 1U);
}

// Of a gap between runs, nothing is left to be shortened.
TEST(Gaps, OfBothKindsAreCountedApart) {
  const Gaps gaps = gaps_of({{0, 1000}, {9000, 9999}}, 100);
  EXPECT_EQ(gaps.between_runs().ns, 8000U);
  EXPECT_EQ(gaps.shortened().count, 2U);
  EXPECT_EQ(gaps.shortened().ns, 900U + 899U);
  EXPECT_EQ(gaps.without(9000), 100U);
  EXPECT_EQ(gaps.without(9999), 200U);
}

// The definition, without anything clever: no two neighbours are further apart than the longest.
TEST(Gaps, OfRandomTimesKeepTheirOrderAndTheirDistances) {
  std::mt19937_64 random(test::seed());
  for (int round = 0; round < test::by_scale(50, 300, 3000); ++round) {
    std::vector<std::uint64_t> times(1 + random() % 60);
    const std::uint64_t longest = 1 + random() % 1000;
    for (std::uint64_t& at : times) at = random() % (std::uint64_t{1} << (3 + random() % 14));
    const Gaps gaps = gaps_of({times}, longest);
    std::ranges::sort(times);
    std::uint64_t cut = 0;
    for (std::size_t i = 1; i < times.size(); ++i) {
      const std::uint64_t gap = times[i] - times[i - 1];
      cut += gap - std::min(gap, longest);
      ASSERT_EQ(gaps.without(times[i]), times[i] - cut) << times[i];
    }
    ASSERT_EQ(gaps.shortened().ns, cut);
  }
}

TEST(Gaps, AtTheEndsOfTheClockDoNotOverflow) {
  constexpr auto kLast = std::uint64_t(std::numeric_limits<std::int64_t>::max());
  const Gaps gaps = gaps_of({{0}, {kLast}}, 10);
  EXPECT_EQ(gaps.without(kLast), 0U);
  EXPECT_EQ(gaps.without(0), 0U);
}

}  // namespace
}  // namespace sluice::replay
