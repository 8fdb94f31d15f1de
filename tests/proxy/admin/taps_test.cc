#include "proxy/admin/taps.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <string>

namespace sluice::admin {
namespace {

Routes two_routes() {
  RouteConfig config;
  config.to = {{EchoEndpoint{}}};
  config.name = "plain";
  Routes routes = {std::make_shared<const Route>(make_route(0, config))};
  config.name = "tapped";
  config.capture = "/c\"\n";
  Route tapped = make_route(1, config);
  tapped.mirrors = {{"m:1", {}}, {"m:2", {}}};
  routes.push_back(std::make_shared<const Route>(std::move(tapped)));
  return routes;
}

CaptureFigures capture_figures() {
  CaptureFigures figures{.directory = "/c\"\n",
                         .recorded_bytes = std::uint64_t{1} << 60,
                         .lag_bytes = 4096,
                         .lost_connections = 1,
                         .disk_failures = 2,
                         .segments = 3};
  for (std::size_t i = 0; i < figures.dropped_bytes.size(); ++i) figures.dropped_bytes[i] = 10 * i;
  return figures;
}

MirrorFigures mirror_figures() {
  MirrorFigures figures{.address = "m:2"};
  for (std::size_t i = 0; i < figures.counts.size(); ++i) figures.counts[i] = i + 1;
  figures.breaker_open = true;
  return figures;
}

TEST(TapsTest, ACaptureSaysWhatItHasAndWhatIsMissing) {
  EXPECT_EQ(json::serialize(captures_json({capture_figures()}, two_routes())),
            "[{\"directory\":\"/c\\\"\\n\",\"routes\":[\"tapped\"],"
            "\"recorded_bytes\":\"1152921504606846976\",\"lag_bytes\":\"4096\","
            "\"dropped_bytes\":{\"full\":\"10\",\"disk_full\":\"20\",\"disk_failed\":\"30\","
            "\"limit\":\"40\",\"not_duplicated\":\"50\"},\"lost_connections\":\"1\","
            "\"disk_failures\":\"2\",\"segments\":\"3\"}]");
}

TEST(TapsTest, AMirrorSaysWhatItGetsAndWhatIsCut) {
  EXPECT_EQ(json::serialize(mirrors_json({mirror_figures()}, two_routes())),
            "[{\"mirror\":\"m:2\",\"routes\":[\"tapped\"],\"streams\":2,\"streams_total\":\"1\","
            "\"bytes\":\"3\",\"lag_bytes\":\"5\",\"breaker_open\":true,\"cut\":{\"lagged\":\"7\","
            "\"shed\":\"8\",\"refused\":\"9\",\"crowded\":\"10\",\"failed\":\"11\","
            "\"ended\":\"12\",\"unfinished\":\"13\"}}]");
}

TEST(TapsTest, MetricsNameEachDirectoryAndMirror) {
  MetricsWriter metrics;
  add_capture_metrics(metrics, {capture_figures()});
  add_mirror_metrics(metrics, {mirror_figures()});
  for (const char* line :
       {"sluice_capture_recorded_bytes_total{directory=\"/c\\\"\\n\"} 1152921504606846976",
        "sluice_capture_lag_bytes{directory=\"/c\\\"\\n\"} 4096",
        "sluice_capture_dropped_bytes_total{directory=\"/c\\\"\\n\",reason=\"limit\"} 40",
        "sluice_mirror_streams_total{mirror=\"m:2\"} 1",
        "sluice_mirror_bytes_total{mirror=\"m:2\"} 3", "sluice_mirror_lag_bytes{mirror=\"m:2\"} 5",
        "sluice_mirror_cut_total{mirror=\"m:2\",reason=\"crowded\"} 10",
        "sluice_mirror_breaker_open{mirror=\"m:2\"} 1"}) {
    EXPECT_NE(metrics.text().find("\n" + std::string(line) + "\n"), std::string::npos)
        << line << metrics.text();
  }
}

TEST(TapsTest, WhereNothingIsTappedThereAreNoMetrics) {
  MetricsWriter metrics;
  add_capture_metrics(metrics, {});
  add_mirror_metrics(metrics, {});
  EXPECT_EQ(metrics.text(), "");
}

}  // namespace
}  // namespace sluice::admin
