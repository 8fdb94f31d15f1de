#include "iolib/balance/two_choices.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace sluice::balance {
namespace {

/// Items that count their connections.
struct Items {
  std::vector<std::uint32_t> weights;
  std::vector<std::uint32_t> active = std::vector<std::uint32_t>(weights.size());
  std::vector<bool> skipped = std::vector<bool>(weights.size());
  Random random{1};

  std::optional<std::size_t> by_two_choices() {
    return two_choices(
        weights.size(), random, [this](std::size_t item) { return skipped[item]; },
        [this](std::size_t item) { return active[item]; },
        [this](std::size_t item) { return weights[item]; });
  }
  std::optional<std::size_t> by_least() {
    return least_loaded(
        weights.size(), random, [this](std::size_t item) { return skipped[item]; },
        [this](std::size_t item) { return active[item]; },
        [this](std::size_t item) { return weights[item]; });
  }
};

using Pick = std::optional<std::size_t> (Items::*)();

/// Tests that both ways of picking pass.
class ByLoad : public testing::TestWithParam<Pick> {
 protected:
  static std::optional<std::size_t> pick(Items& items) { return (items.*GetParam())(); }
  /// Begins `picks` connections that stay.
  static void fill(Items& items, int picks) {
    for (int i = 0; i < picks; ++i) ++items.active.at(pick(items).value());
  }
};

INSTANTIATE_TEST_SUITE_P(, ByLoad, testing::Values(&Items::by_two_choices, &Items::by_least),
                         [](const auto& pick) { return pick.index == 0 ? "TwoChoices" : "Least"; });

TEST_P(ByLoad, TenThousandConnectionsAreSpreadEvenlyOverTenItems) {
  Items items{.weights = std::vector<std::uint32_t>(10, 1)};
  fill(items, 10'000);
  const auto [least, most] = std::ranges::minmax(items.active);
  EXPECT_LE(most - least, 5U);
}

TEST_P(ByLoad, TheOnlyItemIsPicked) {
  Items items{.weights = {256}};
  fill(items, 10);
  EXPECT_EQ(items.active[0], 10U);
}

TEST_P(ByLoad, OfTwoTheLessLoadedIsPicked) {
  Items items{.weights = {1, 1}};
  fill(items, 10'000);
  EXPECT_EQ(items.active[0], 5'000U);
}

TEST_P(ByLoad, OfWeights1And256TheShareIs1To256) {
  Items items{.weights = {1, 256}};
  fill(items, 257 * 10);
  EXPECT_EQ(items.active[0], 10U);
  EXPECT_EQ(items.active[1], 2560U);
}

TEST_P(ByLoad, NothingIsPickedOfNothing) {
  Items items{.weights = {}};
  EXPECT_EQ(pick(items), std::nullopt);
}

TEST_P(ByLoad, NothingIsPickedIfAllAreSkipped) {
  for (const std::size_t n : {1U, 2U, 3U, 100U}) {
    Items items{.weights = std::vector<std::uint32_t>(n, 1)};
    items.skipped.assign(n, true);
    EXPECT_EQ(pick(items), std::nullopt);
  }
}

TEST_P(ByLoad, TheOnlyItemThatIsNotSkippedIsPicked) {
  for (const std::size_t n : {2U, 3U, 100U}) {
    Items items{.weights = std::vector<std::uint32_t>(n, 1)};
    items.skipped.assign(n, true);
    items.skipped[n / 2] = false;
    fill(items, 100);
    EXPECT_EQ(items.active[n / 2], 100U);
  }
}

TEST_P(ByLoad, OthersShareEvenlyWhenHalfAreSkipped) {
  Items items{.weights = std::vector<std::uint32_t>(20, 1)};
  for (std::size_t i = 0; i < 10; ++i) items.skipped[i] = true;
  fill(items, 10'000);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(items.active[i], 0U);
  for (std::size_t i = 10; i < 20; ++i) EXPECT_NEAR(items.active[i], 1000, 5);
}

TEST_P(ByLoad, LargestCountsAndWeightsDoNotOverflow) {
  Items items{.weights = {UINT32_MAX, UINT32_MAX, 1}};
  items.active = {UINT32_MAX, UINT32_MAX - 1, UINT32_MAX};
  items.skipped = {false, false, true};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(pick(items), 1U);
}

TEST_P(ByLoad, IdleItemsArePickedEquallyOften) {
  constexpr std::size_t kItems = 10;
  Items items{.weights = std::vector<std::uint32_t>(kItems, 1)};
  std::vector<double> counts(kItems);
  for (int i = 0; i < 10'000; ++i) ++counts.at(pick(items).value());
  for (const double count : counts) EXPECT_NEAR(count, 1000, 4 * std::sqrt(1000));
}

TEST(TwoChoices, TheLeastLoadedIsPickedWhenItIsDrawnAndTheMostLoadedNever) {
  Items items{.weights = std::vector<std::uint32_t>(4, 1)};
  items.active = {0, 1, 2, 3};
  std::vector<double> counts(4);
  for (int i = 0; i < 6000; ++i) ++counts.at(items.by_two_choices().value());
  // Of the six pairs, item 0 wins three, item 1 two, and item 2 one.
  EXPECT_NEAR(counts[0], 3000, 200);
  EXPECT_NEAR(counts[1], 2000, 200);
  EXPECT_NEAR(counts[2], 1000, 200);
  EXPECT_LE(counts[3], 5);
}

TEST(LeastLoaded, TheLeastLoadedIsAlwaysPicked) {
  Items items{.weights = {1, 2, 4, 2}};
  items.active = {3, 5, 13, 6};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(items.by_least(), 1U);
}

}  // namespace
}  // namespace sluice::balance
