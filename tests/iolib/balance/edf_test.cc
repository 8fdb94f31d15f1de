#include "iolib/balance/edf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>
#include <vector>

namespace sluice::balance {
namespace {

using Weights = std::vector<std::uint32_t>;

bool skip_none(std::size_t /*item*/) { return false; }
bool skip_all(std::size_t /*item*/) { return true; }

/// How often each item is picked in the next `picks` picks.
std::vector<int> picked(Edf& edf, std::size_t items, std::uint64_t picks) {
  std::vector<int> counts(items);
  for (std::uint64_t i = 0; i < picks; ++i) ++counts.at(edf.next(skip_none).value());
  return counts;
}

/// Checks that among the picks of a round each item has its weight, give or take one.
void expect_shares(const Weights& weights, const std::vector<int>& counts) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    EXPECT_NEAR(counts[i], static_cast<int>(weights[i]), 1) << "item " << i;
  }
}

std::uint64_t sum(const Weights& weights) {
  return std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
}

/// The sum of squared deviations of the first pick of `starts` schedules from the weights' shares.
double chi_squared(const Weights& weights, int starts) {
  std::vector<int> firsts(weights.size());
  for (int start = 0; start < starts; ++start) {
    Random random(static_cast<std::uint64_t>(start));
    Edf edf(weights, random);
    ++firsts.at(edf.next(skip_none).value());
  }
  double total = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double expected =
        starts * static_cast<double>(weights[i]) / static_cast<double>(sum(weights));
    total += (firsts[i] - expected) * (firsts[i] - expected) / expected;
  }
  return total;
}

TEST(Edf, EachRoundHasTheWeights) {
  for (const Weights& weights :
       {Weights{1}, Weights{1, 1}, Weights{1, 256}, Weights{256, 256}, Weights{1, 2, 3, 4, 5},
        Weights{7, 1, 1, 100, 256, 33}, Weights(1000, 3), Weights{1, 65'535}}) {
    Random random(sum(weights));
    Edf edf(weights, random);
    for (int round = 0; round < 5; ++round) {
      expect_shares(weights, picked(edf, weights.size(), sum(weights)));
    }
  }
}

TEST(Edf, AnyPicksInARowThatAreARoundHaveTheWeights) {
  const Weights weights{1, 5, 3, 16, 2};
  Random random(1);
  Edf edf(weights, random);
  for (std::uint64_t offset = 0; offset < 100; ++offset) {
    static_cast<void>(picked(edf, weights.size(), offset));
    expect_shares(weights, picked(edf, weights.size(), sum(weights)));
  }
}

TEST(Edf, HeavyItemsAreSpreadOverTheRound) {
  const Weights weights{10, 10, 1};
  Random random(1);
  Edf edf(weights, random);
  int in_a_row = 0;
  for (std::size_t before = 3, i = 0; i < 1000; ++i) {
    const std::size_t item = edf.next(skip_none).value();
    in_a_row = item == before ? in_a_row + 1 : 1;
    EXPECT_LE(in_a_row, 2);
    before = item;
  }
}

// With 9 degrees of freedom, chance alone exceeds 27.9 once in a thousand; with 3, it exceeds 16.3.
TEST(Edf, FirstPicksOfAThousandStartsHaveTheWeights) {
  EXPECT_LT(chi_squared(Weights(10, 1), 1000), 27.9);
  EXPECT_LT(chi_squared(Weights(10, 256), 1000), 27.9);
  EXPECT_LT(chi_squared({1, 2, 4, 8}, 1000), 16.3);
  EXPECT_LT(chi_squared({1, 1, 1, 97}, 1000), 16.3);
}

TEST(Edf, PicksAfterTheFirstDifferFromStartToStart) {
  std::set<std::vector<std::size_t>> rounds;
  for (std::uint64_t start = 0; start < 100; ++start) {
    Random random(start);
    Edf edf(Weights(10, 1), random);
    std::vector<std::size_t> round;
    for (int i = 0; i < 10; ++i) round.push_back(edf.next(skip_none).value());
    rounds.insert(round);
  }
  EXPECT_EQ(rounds.size(), 100U);
}

TEST(Edf, WithoutARandomStartAllItemsComeInOrderFirst) {
  const Weights weights{1, 256, 2, 1};
  Edf edf{weights};
  for (std::size_t item = 0; item < weights.size(); ++item) EXPECT_EQ(edf.next(skip_none), item);
  EXPECT_EQ(edf.next(skip_none), 1U);
}

TEST(Edf, NothingIsPickedOfNothing) {
  Random random(1);
  Edf none(Weights{}, random);
  EXPECT_EQ(none.next(skip_none), std::nullopt);
  EXPECT_EQ(Edf().next(skip_none), std::nullopt);
}

TEST(Edf, WhenAllAreSkippedNothingIsPickedAndNothingChanges) {
  const Weights weights{1, 2, 3};
  Random random(1);
  Edf edf(weights, random);
  Edf undisturbed = edf;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(edf.next(skip_all), std::nullopt);
    EXPECT_EQ(edf.next(skip_none), undisturbed.next(skip_none));
  }
}

TEST(Edf, TheOthersShareTheTurnsOfASkippedItem) {
  const Weights weights{1, 2, 4, 3};
  Random random(1);
  Edf edf(weights, random);
  std::vector<int> counts(weights.size());
  for (int i = 0; i < 600; ++i) {
    ++counts.at(edf.next([](std::size_t item) { return item == 2; }).value());
  }
  EXPECT_NEAR(counts[0], 100, 1);
  EXPECT_NEAR(counts[1], 200, 1);
  EXPECT_EQ(counts[2], 0);
  EXPECT_NEAR(counts[3], 300, 1);
}

TEST(Edf, AnItemThatWasSkippedForLongComesNextAndThenInTurn) {
  const Weights weights{1, 1, 1, 1};
  Random random(1);
  Edf edf(weights, random);
  for (int i = 0; i < 1000; ++i) {
    static_cast<void>(edf.next([](std::size_t item) { return item == 2; }));
  }
  EXPECT_EQ(edf.next(skip_none), 2U);
  for (int i = 0; i < 3; ++i) EXPECT_NE(edf.next(skip_none), 2U);
  expect_shares(weights, picked(edf, weights.size(), sum(weights)));
}

/// Picks by looking at all items.
class SlowEdf {
 public:
  explicit SlowEdf(const Weights& weights) : deadlines_(weights.size()), weights_(weights) {}

  template <class Skip>
  std::optional<std::size_t> next(Skip&& skip) {
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < deadlines_.size(); ++i) {
      if (!skip(i) && (!best || deadlines_[i] < deadlines_[*best])) best = i;
    }
    if (!best) return best;
    now_ = std::max(now_, deadlines_[*best]);
    deadlines_[*best] = now_ + 1.0 / weights_[*best];
    return best;
  }

 private:
  std::vector<double> deadlines_;
  Weights weights_;
  double now_ = 0;
};

// Weights that are powers of two, so that all deadlines are exact in both.
TEST(Edf, PicksAreThoseOfASearchThroughAllItemsWhateverIsSkipped) {
  Random random(1);
  for (std::size_t items = 1; items <= 40; ++items) {
    Weights weights(items);
    for (std::uint32_t& weight : weights) weight = 1U << random.below(6);
    Edf edf{weights};
    SlowEdf slow{weights};
    std::vector<bool> skipped(items);
    for (int i = 0; i < 500; ++i) {
      skipped.at(random.below(items)) = random.below(2) == 0;
      const auto skip = [&](std::size_t item) { return skipped[item]; };
      ASSERT_EQ(edf.next(skip), slow.next(skip)) << items << " items, pick " << i;
    }
  }
}

TEST(Edf, FewItemsAreAskedWhetherTheyAreSkipped) {
  constexpr std::size_t kItems = 1000;
  Random random(1);
  Edf edf(Weights(kItems, 1), random);
  for (std::size_t skipped : {0U, 1U, 2U, 10U}) {
    for (int i = 0; i < 1000; ++i) {
      std::size_t asked = 0;
      EXPECT_TRUE(edf.next([&](std::size_t item) { return ++asked > 0 && item < skipped; }));
      EXPECT_LE(asked, 1 + 2 * skipped);
    }
  }
}

// Time starts again every 2^14 rounds.
TEST(Edf, SharesAndPlacesOutliveTheEndOfTime) {
  const Weights weights{1, 1, 2};
  Random random(1);
  Edf edf(weights, random);
  const auto skip_last = [](std::size_t item) { return item == 2; };
  for (int i = 0; i < 50'000; ++i) static_cast<void>(edf.next(skip_last));
  EXPECT_EQ(edf.next(skip_none), 2U);
  for (int round = 0; round < 50'000; ++round) {
    const std::vector<int> counts = picked(edf, weights.size(), sum(weights));
    ASSERT_EQ(counts, (std::vector<int>{1, 1, 2})) << round;
  }
}

}  // namespace
}  // namespace sluice::balance
