#include "proxy/admin/routes.h"

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>

namespace sluice::admin {
namespace {

RouteConfig forwarding() {
  RouteConfig config;
  config.name = "a\"\xff";
  config.listen = {HostPort{"127.0.0.1", 80}, UnixEndpoint{"/run/a"}};
  config.to = {{HostPort{"10.0.0.1", 81}}, {HostPort{"10.0.0.2", 81}}};
  return config;
}

json::object item_of(const Route& route) {
  return routes_json({std::make_shared<const Route>(route)}, Clock::now()).at(0).as_object();
}

TEST(RoutesTest, ARouteSaysWhatItForwardsAndWhatWasCounted) {
  const Route route = make_route(0, forwarding(), 2);
  for (RouteCounts& each : std::span(route.stats->counts).first(2)) {
    each.accepted.add(6);
    each.active.add(2);
    each.ended[ending_index(EndReason::closed)].add(3);
    each.ended[ending_index(EndReason::client_reset)].add(1);
    each.retries.add(5);
  }
  route.stats->traffic[0].to_upstream.forwarded_bytes.add(std::uint64_t{1} << 62);
  route.stats->traffic[1].to_upstream.forwarded_bytes.add(1);
  route.stats->traffic[1].to_client.forwarded_bytes.add(7);
  route.stats->traffic[1].to_client.spliced_bytes.add(4);
  route.servers->servers[1]->load->down = true;
  EXPECT_EQ(json::serialize(item_of(route)),
            "{\"name\":\"a\\\"\xef\xbf\xbd\",\"listen\":[\"127.0.0.1:80\",\"unix:/run/a\"],"
            "\"to\":[\"10.0.0.1:81\",\"10.0.0.2:81\"],\"accepted\":\"12\",\"connections\":4,"
            "\"closed\":{\"closed\":\"6\",\"client_reset\":\"2\"},\"rejected\":{},"
            "\"limits\":{},\"sources\":null,\"retries\":\"10\","
            "\"bytes\":{\"to_upstream\":\"4611686018427387905\",\"to_client\":\"7\"},"
            "\"spliced_bytes\":{\"to_upstream\":\"0\",\"to_client\":\"4\"},\"capture\":null,"
            "\"capture_enabled\":false,\"mirrors\":[],\"servers\":2,\"servers_usable\":1}");
}

TEST(RoutesTest, ARouteSaysWhatItLimitsAndWhomItHasTurnedAway) {
  RouteConfig config = forwarding();
  config.route_connections = 100;
  config.source_connections = 10;
  config.source_rate = 3'000;
  config.connection_bandwidth = 1'000'000;
  config.route_bandwidth = 50 << 20;
  const Route route = make_route(0, config);
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(route.places->take(100));
  route.places->set_others(7);
  RouteCounts& counts = route.stats->counts[0];
  counts.ended[ending_index(EndReason::denied)].add(2);
  counts.ended[ending_index(EndReason::over_source_rate)].add(3);
  counts.ended[ending_index(EndReason::over_route_connections)].add(4);
  counts.ended[ending_index(EndReason::closed)].add(5);
  const json::object item = item_of(route);
  EXPECT_EQ(json::serialize(item.at("limits")),
            "{\"route-connections\":{\"limit\":100,\"used\":37},"
            "\"source-connections\":{\"limit\":10},\"source-rate\":{\"limit\":\"50/s\"},"
            "\"connection-bandwidth\":{\"limit\":\"1MB/s\"},"
            "\"route-bandwidth\":{\"limit\":\"50MiB/s\"}}");
  EXPECT_EQ(json::serialize(item.at("rejected")),
            "{\"denied\":\"2\",\"source-rate\":\"3\",\"route-connections\":\"4\"}");
  EXPECT_EQ(json::serialize(item.at("closed")),
            "{\"closed\":\"5\",\"denied\":\"2\",\"limited\":\"7\"}");
  EXPECT_EQ(item.at("sources"), 0);
}

TEST(RoutesTest, ARouteSaysWhereItIsRecordedAndMirrored) {
  RouteConfig config;
  config.to = {{EchoEndpoint{}}};
  config.capture = "/var/capture";
  Route route = make_route(0, config);
  route.mirrors = {{"m:1", {}}, {"m:2", {}}};
  const json::object item = item_of(route);
  EXPECT_EQ(item.at("to"), json::array({"echo:"}));
  EXPECT_EQ(item.at("capture"), "/var/capture");
  EXPECT_EQ(item.at("capture_enabled"), true);
  route.stats->capture_enabled = false;
  EXPECT_EQ(item_of(route).at("capture_enabled"), false);
  EXPECT_EQ(item.at("mirrors"), json::array({"m:1", "m:2"}));
  EXPECT_EQ(item.at("servers"), 0);
}

}  // namespace
}  // namespace sluice::admin
