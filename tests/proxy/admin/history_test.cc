#include "proxy/admin/history.h"

#include <gtest/gtest.h>

#include <memory>

namespace sluice::admin {
namespace {

TEST(HistoryTest, APointIsWhatHappenedInItsSecond) {
  History history;
  history.add(100.5, {10, 20, 3, 2});
  history.add(101.5, {std::uint64_t{1} << 60, 25, 3, 1});
  EXPECT_EQ(json::serialize(history.to_json(102)),
            "{\"interval_seconds\":1,\"now\":1.02E2,\"points\":["
            "{\"time\":1.005E2,\"bytes_to_upstream\":\"10\",\"bytes_to_client\":\"20\","
            "\"accepted\":3,\"connections\":2},"
            "{\"time\":1.015E2,\"bytes_to_upstream\":\"1152921504606846966\","
            "\"bytes_to_client\":\"5\",\"accepted\":0,\"connections\":1}]}");
}

TEST(HistoryTest, TheOldestPointsGo) {
  History history;
  for (std::size_t i = 0; i < History::kMostPoints + 5; ++i) {
    history.add(static_cast<double>(i), {.accepted = i});
  }
  const json::array points = history.to_json(0).at("points").as_array();
  ASSERT_EQ(points.size(), History::kMostPoints);
  EXPECT_EQ(points.front().at("time"), 5.0);
  EXPECT_EQ(points.back().at("accepted"), 1);
}

TEST(HistoryTest, TotalsThatFallAreNoTraffic) {
  History history;
  history.add(1, {10, 10, 10, 10});
  history.add(2, {3, 3, 3, 3});
  history.add(3, {4, 5, 6, 7});
  const json::array points = history.to_json(3).at("points").as_array();
  EXPECT_EQ(points[1].at("bytes_to_upstream"), "0");
  EXPECT_EQ(points[1].at("accepted"), 0);
  EXPECT_EQ(points[2].at("bytes_to_client"), "2");
  EXPECT_EQ(points[2].at("connections"), 7);
}

TEST(HistoryTest, TotalsAreThoseOfAllRoutes) {
  RouteConfig config;
  config.to = {{DiscardEndpoint{}}};
  Routes routes;
  for (std::size_t i = 0; i < 2; ++i) {
    routes.push_back(std::make_shared<const Route>(make_route(i, config, 2)));
    routes[i]->stats->counts[1].accepted.add(5);
    routes[i]->stats->counts[i].active.add(1);
    routes[i]->stats->traffic[0].to_upstream.forwarded_bytes.add(7);
    routes[i]->stats->traffic[i].to_client.forwarded_bytes.add(9);
  }
  const History::Totals totals = history_totals(routes);
  EXPECT_EQ(totals.accepted, 10U);
  EXPECT_EQ(totals.connections, 2U);
  EXPECT_EQ(totals.bytes_to_upstream, 14U);
  EXPECT_EQ(totals.bytes_to_client, 18U);
}

}  // namespace
}  // namespace sluice::admin
