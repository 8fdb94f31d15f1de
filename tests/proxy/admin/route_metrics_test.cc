#include "proxy/admin/route_metrics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/upstream/route_totals.h"
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

TEST(RouteMetricsTest, ARouteWithAQueueSaysHowManyWait) {
  RouteConfig config;
  config.name = "web";
  config.to = {{EchoEndpoint{}}};
  config.route_connections = 1;
  EXPECT_EQ(rendered({make_route(0, config)}).find("\nsluice_queue_length{"), std::string::npos);
  config.queue = 1;
  EXPECT_NE(rendered({make_route(0, config)}).find("\nsluice_queue_length{route=\"web\"} 0\n"),
            std::string::npos);
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
  std::size_t ends = 0;
  const auto count = [&](std::string_view, std::uint64_t) { ++ends; };
  for_each_end(RouteEnds{}, count);
  for_each_rejection(RouteEnds{}, count);
  EXPECT_EQ(before.size(), 3 + ends + 4 + 2 * 23 + 2 * 3U);
}

/// Those of all limits are one reason of an end, and as many of being turned away.
TEST(RouteMetricsTest, WhoIsTurnedAwayIsCountedByTheLimit) {
  const Route route = route_to(1);
  RouteCounts& counts = route.stats->counts[0];
  counts.ended[ending_index(EndReason::denied)].add(1);
  counts.ended[ending_index(EndReason::over_source_connections)].add(2);
  counts.ended[ending_index(EndReason::over_source_rate)].add(3);
  counts.ended[ending_index(EndReason::over_route_connections)].add(4);
  counts.ended[ending_index(EndReason::over_server_connections)].add(5);
  const std::string text = rendered({route});
  for (const char* line : {"sluice_connections_closed_total{route=\"web\",reason=\"denied\"} 1",
                           "sluice_connections_closed_total{route=\"web\",reason=\"limited\"} 14",
                           "sluice_rejected_total{route=\"web\",reason=\"denied\"} 1",
                           "sluice_rejected_total{route=\"web\",reason=\"source-connections\"} 2",
                           "sluice_rejected_total{route=\"web\",reason=\"source-rate\"} 3",
                           "sluice_rejected_total{route=\"web\",reason=\"route-connections\"} 4",
                           "sluice_rejected_total{route=\"web\",reason=\"server-connections\"} 5",
                           "sluice_rejected_total{route=\"web\",reason=\"no_route\"} 0"}) {
    EXPECT_NE(text.find("\n" + std::string(line) + "\n"), std::string::npos) << line << text;
  }
  EXPECT_EQ(text.find("reason=\"closed\"", text.find("TYPE sluice_rejected_total")),
            std::string::npos);
}

TEST(RouteMetricsTest, ARouteWithLimitsSaysHowMuchIsUsed) {
  EXPECT_EQ(rendered({route_to(1)}).find("_places{"), std::string::npos);
  RouteConfig config;
  config.name = "web";
  config.to = {{HostPort{"10.0.0.1", 80}}};
  config.route_connections = 100;
  config.server_connections = 50;
  config.source_connections = 10;
  const Route route = make_route(0, config);
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(route.places->take(100));
  route.places->set_others(7);
  route.servers->servers[0]->load->active = 20;
  route.servers->servers[0]->load->others = 5;
  EXPECT_EQ(route.sources->begin(numeric_address({"192.0.2.1", 1}).value(), {10, 0}, Clock::now()),
            balance::SourceTable::Verdict::counted);
  const std::string text = rendered({route});
  for (const char* line :
       {"sluice_route_places{route=\"web\"} 37", "sluice_route_places_limit{route=\"web\"} 100",
        "sluice_sources{route=\"web\"} 1",
        "sluice_server_places{route=\"web\",server=\"10.0.0.1:80\"} 25",
        "sluice_server_places_limit{route=\"web\",server=\"10.0.0.1:80\"} 50"}) {
    EXPECT_NE(text.find("\n" + std::string(line) + "\n"), std::string::npos) << line << text;
  }
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
  EXPECT_EQ(families, 19U);
}

}  // namespace
}  // namespace sluice::admin
