#include "proxy/admin/metrics.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace sluice::admin {
namespace {

TEST(Metrics, AFamilyHasItsHelpItsTypeAndItsSamples) {
  MetricsWriter metrics;
  metrics.begin("sluice_forwarded_bytes_total", MetricType::counter, "Bytes that were forwarded.");
  metrics.add(std::uint64_t{18446744073709551615U}, {{"route", "a"}, {"dir", "to_client"}});
  metrics.add(std::uint64_t{0}, {{"route", "b"}, {"dir", "to_client"}});
  metrics.add_single("sluice_ready", MetricType::gauge, "Whether it is ready.", std::uint64_t{1});
  EXPECT_EQ(metrics.text(),
            "# HELP sluice_forwarded_bytes_total Bytes that were forwarded.\n"
            "# TYPE sluice_forwarded_bytes_total counter\n"
            "sluice_forwarded_bytes_total{route=\"a\",dir=\"to_client\"} 18446744073709551615\n"
            "sluice_forwarded_bytes_total{route=\"b\",dir=\"to_client\"} 0\n"
            "# HELP sluice_ready Whether it is ready.\n"
            "# TYPE sluice_ready gauge\n"
            "sluice_ready 1\n");
}

TEST(Metrics, WhatWouldEndALabelOrALineIsEscaped) {
  MetricsWriter metrics;
  metrics.begin("x", MetricType::gauge, "A \\ and a \"quote\"\nand a line.");
  metrics.add(std::uint64_t{1}, {{"server", "unix:/a\\b\"c\nd"}});
  EXPECT_EQ(metrics.text(),
            "# HELP x A \\\\ and a \"quote\"\\nand a line.\n# TYPE x gauge\n"
            "x{server=\"unix:/a\\\\b\\\"c\\nd\"} 1\n");
}

TEST(Metrics, NumbersAreAsShortAsTheyAreExact) {
  MetricsWriter metrics;
  for (const double value :
       {0.1, 1.0, -2.5, 1e21, std::nan(""), std::numeric_limits<double>::infinity(),
        -std::numeric_limits<double>::infinity()}) {
    metrics.add(value);
  }
  EXPECT_EQ(metrics.text(), " 0.1\n 1\n -2.5\n 1e+21\n NaN\n +Inf\n -Inf\n");
}

TEST(Metrics, AHistogramCountsWhatIsAtMostItsBound) {
  MetricsWriter metrics;
  metrics.begin("sluice_connect_seconds", MetricType::histogram, "How long a connect took.");
  metrics.add_histogram(std::array{0.001, 0.5}, std::array<std::uint64_t, 3>{3, 0, 2}, 7.25,
                        {{"route", "a"}});
  metrics.add_histogram(std::array{1.0}, std::array<std::uint64_t, 2>{0, 0}, 0);
  EXPECT_EQ(metrics.text(),
            "# HELP sluice_connect_seconds How long a connect took.\n"
            "# TYPE sluice_connect_seconds histogram\n"
            "sluice_connect_seconds_bucket{route=\"a\",le=\"0.001\"} 3\n"
            "sluice_connect_seconds_bucket{route=\"a\",le=\"0.5\"} 3\n"
            "sluice_connect_seconds_bucket{route=\"a\",le=\"+Inf\"} 5\n"
            "sluice_connect_seconds_sum{route=\"a\"} 7.25\n"
            "sluice_connect_seconds_count{route=\"a\"} 5\n"
            "sluice_connect_seconds_bucket{le=\"1\"} 0\n"
            "sluice_connect_seconds_bucket{le=\"+Inf\"} 0\n"
            "sluice_connect_seconds_sum 0\n"
            "sluice_connect_seconds_count 0\n");
}

}  // namespace
}  // namespace sluice::admin
