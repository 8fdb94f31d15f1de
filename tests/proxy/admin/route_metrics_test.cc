#include "proxy/admin/route_metrics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tests/proxy/admin/series.h"

namespace sluice::admin {
namespace {

std::string rendered(const std::vector<Route>& routes) {
  RouteMetrics metrics;
  for (const Route& route : routes) metrics.add(route, Clock::now());
  std::string text;
  metrics.append_to(text);
  return text;
}

Route route_to(std::size_t servers) {
  RouteConfig config;
  config.name = "web";
  for (std::size_t i = 0; i < servers; ++i) {
    config.to.push_back({HostPort{"10.0.0.1", static_cast<std::uint16_t>(i + 1)}});
  }
  return make_route(0, config, 2);
}

TEST(RouteMetricsTest, WhatTheWorkersCountIsAddedUp) {
  const Route route = route_to(2);
  for (RouteCounts& each : std::span(route.stats->counts).first(2)) {
    each.accepted.add(6);
    each.active.add(2);
    each.retries.add(5);
    each.ended[ending_index(EndReason::idle_timeout)].add(4);
    each.connects.add(std::chrono::milliseconds(2));
    each.connections.add(std::chrono::seconds(30));
  }
  route.stats->traffic[1].to_client.forwarded_bytes.add(std::uint64_t{1} << 62);
  route.stats->traffic[0].to_client.spliced_bytes.add(7);
  ServerLoad& load = *route.servers->servers[1]->load;
  load.down = true;
  load.active = 9;
  load.failures = 8;
  const std::string text = rendered({route});
  for (const char* line :
       {"sluice_connections_accepted_total{route=\"web\"} 12",
        "sluice_connections_active{route=\"web\"} 4",
        "sluice_connections_closed_total{route=\"web\",reason=\"closed\"} 0",
        "sluice_connections_closed_total{route=\"web\",reason=\"idle_timeout\"} 8",
        "sluice_forwarded_bytes_total{route=\"web\",dir=\"to_client\"} 4611686018427387904",
        "sluice_forwarded_bytes_total{route=\"web\",dir=\"to_upstream\"} 0",
        "sluice_spliced_bytes_total{route=\"web\",dir=\"to_client\"} 7",
        "sluice_retries_total{route=\"web\"} 10",
        "sluice_connection_duration_seconds_bucket{route=\"web\",le=\"10\"} 0",
        "sluice_connection_duration_seconds_bucket{route=\"web\",le=\"60\"} 2",
        "sluice_connection_duration_seconds_sum{route=\"web\"} 60",
        "sluice_upstream_connect_duration_seconds_bucket{route=\"web\",le=\"0.0025\"} 2",
        "sluice_upstream_connect_duration_seconds_sum{route=\"web\"} 0.004",
        "sluice_upstream_connect_duration_seconds_count{route=\"web\"} 2",
        "sluice_server_up{route=\"web\",server=\"10.0.0.1:1\"} 1",
        "sluice_server_up{route=\"web\",server=\"10.0.0.1:2\"} 0",
        "sluice_server_connections{route=\"web\",server=\"10.0.0.1:2\"} 9",
        "sluice_server_connect_failures_total{route=\"web\",server=\"10.0.0.1:2\"} 8"}) {
    EXPECT_NE(text.find("\n" + std::string(line) + "\n"), std::string::npos) << line << text;
  }
}

/// What it is depends on the configuration alone.
TEST(RouteMetricsTest, NothingThatIsCountedMakesASeries) {
  const Route route = route_to(2);
  const std::set<std::string> before = series_of(rendered({route}));
  for (const Ending& ending : kEndings) {
    route.stats->counts[0].ended[ending_index(ending.reason)].add();
  }
  for (const double bound : DurationCounts::kBounds) {
    route.stats->counts[0].connections.add(
        std::chrono::duration_cast<Duration>(std::chrono::duration<double>(bound)));
  }
  EXPECT_EQ(series_of(rendered({route})), before);
  EXPECT_EQ(before.size(), 3 + kEndings.size() + 4 + 2 * 23 + 2 * 3U);
}

TEST(RouteMetricsTest, ARouteWithACaptureSaysWhetherItRecords) {
  EXPECT_EQ(rendered({route_to(1)}).find("sluice_capture_enabled{"), std::string::npos);
  RouteConfig config;
  config.name = "web";
  config.to = {{EchoEndpoint{}}};
  config.capture = "/var/capture";
  const Route route = make_route(0, config);
  EXPECT_NE(rendered({route}).find("\nsluice_capture_enabled{route=\"web\"} 1\n"),
            std::string::npos);
  route.stats->capture_enabled = false;
  EXPECT_NE(rendered({route}).find("\nsluice_capture_enabled{route=\"web\"} 0\n"),
            std::string::npos);
}

TEST(RouteMetricsTest, OnlyTheFirstServersHaveMetrics) {
  const std::string text = rendered({route_to(RouteMetrics::kMostServers + 1)});
  EXPECT_NE(text.find("server=\"10.0.0.1:256\""), std::string::npos);
  EXPECT_EQ(text.find("server=\"10.0.0.1:257\""), std::string::npos);
}

TEST(RouteMetricsTest, FamiliesStayTogether) {
  const Route route = route_to(1);
  const std::string text = rendered({route, route});
  std::size_t families = 0;
  std::string begun;
  for (const std::string& line : lines_of(text)) {
    if (line.starts_with("# TYPE ")) {
      begun = line.substr(7, line.find(' ', 7) - 7);
      ++families;
    } else if (!line.starts_with("#")) {
      EXPECT_TRUE(line.starts_with(begun)) << line;
    }
  }
  EXPECT_EQ(families, 12U);
}

}  // namespace
}  // namespace sluice::admin
