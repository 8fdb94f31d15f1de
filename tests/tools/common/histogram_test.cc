#include "tools/common/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace sluice {
namespace {

constexpr std::uint64_t kMicrosecond = 1'000;
constexpr std::uint64_t kMinute = 60'000'000'000;
constexpr double kMostError = 0.01;

// The smallest value that at least the fraction `q` of all values does not exceed.
std::uint64_t exact_quantile(std::vector<std::uint64_t> sorted, double q) {
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

void expect_close(const Histogram& histogram, std::vector<std::uint64_t> values) {
  std::sort(values.begin(), values.end());
  for (const double q : {0.0, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    const auto exact = static_cast<double>(exact_quantile(values, q));
    EXPECT_NEAR(histogram.quantile(q), exact, exact * kMostError) << "quantile " << q;
  }
  EXPECT_EQ(histogram.total(), values.size());
  EXPECT_EQ(histogram.max(), values.back());
}

TEST(HistogramTest, SingleValuesFromAMicrosecondToAMinute) {
  for (double value = kMicrosecond; value <= kMinute; value *= 1.0037) {
    Histogram histogram;
    histogram.add(static_cast<std::uint64_t>(value));
    EXPECT_NEAR(histogram.quantile(0.5), value, value * kMostError);
  }
}

TEST(HistogramTest, NoQuantilePassesTheMaximum) {
  for (std::uint64_t value = kMicrosecond; value <= kMinute; value = value * 3 / 2 + 1) {
    Histogram histogram;
    histogram.add(value);
    EXPECT_LE(histogram.quantile(0.99), static_cast<double>(value));
  }
}

TEST(HistogramTest, QuantilesOfManyDistributions) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> normal(11, 2);
  std::uniform_int_distribution<std::uint64_t> uniform(kMicrosecond, kMinute);
  std::exponential_distribution<double> exponential(1e-5);
  for (const int kind : {0, 1, 2, 3}) {
    Histogram histogram;
    std::vector<std::uint64_t> values;
    for (int i = 0; i < 100'000; ++i) {
      double value = kind == 0    ? normal(random)
                     : kind == 1  ? static_cast<double>(uniform(random))
                     : kind == 2  ? exponential(random)
                     : i % 2 == 0 ? 2e3
                                  : 5e9;
      value = std::clamp(value, double{kMicrosecond}, double{kMinute});
      values.push_back(static_cast<std::uint64_t>(value));
      histogram.add(values.back());
    }
    expect_close(histogram, values);
  }
}

TEST(HistogramTest, MergedIsAsIfAllHadBeenAddedToOne) {
  std::mt19937_64 random(2);
  std::uniform_int_distribution<std::uint64_t> uniform(0, kMinute);
  Histogram all;
  Histogram merged;
  for (int part = 0; part < 5; ++part) {
    Histogram histogram;
    for (int i = 0; i < 1'000; ++i) {
      const std::uint64_t value = uniform(random);
      histogram.add(value);
      all.add(value);
    }
    merged.merge(histogram);
  }
  for (double q = 0; q <= 1; q += 0.01) EXPECT_EQ(merged.quantile(q), all.quantile(q));
  EXPECT_EQ(merged.max(), all.max());
}

TEST(HistogramTest, TakesEveryNumberThereIs) {
  Histogram histogram;
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
    histogram.add(value);
  }
  EXPECT_EQ(histogram.total(), 3U);
  EXPECT_EQ(histogram.max(), ~std::uint64_t{0});
  EXPECT_EQ(histogram.quantile(0.5), 1);
}

TEST(HistogramTest, EmptyHasNoQuantiles) { EXPECT_EQ(Histogram().quantile(0.5), 0); }

}  // namespace
}  // namespace sluice
