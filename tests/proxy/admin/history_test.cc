#include "proxy/admin/history.h"

#include <gtest/gtest.h>

#include <memory>

namespace sluice::admin {
namespace {

std::shared_ptr<const Route> route(std::size_t index) {
  RouteConfig config;
  config.to = {{DiscardEndpoint{}}};
  return std::make_shared<const Route>(make_route(index, config, 2));
}

/// The counts of the only route.
History::Counts counts(const History::Totals& totals) {
  static const auto stats = route(0)->stats;
  return {{stats, History::Counted{totals, {}}}};
}

TEST(HistoryTest, APointIsWhatHappenedInItsSecond) {
  History history;
  history.add(99.5, counts({}));
  history.add(100.5, counts({10, 20, 3, 2}));
  history.add(101.5, counts({std::uint64_t{1} << 60, 25, 3, 1}));
  EXPECT_EQ(json::serialize(history.to_json(102)),
            "{\"interval_seconds\":1,\"now\":1.02E2,\"points\":["
            "{\"time\":9.95E1,\"bytes_to_upstream\":\"0\",\"bytes_to_client\":\"0\","
            "\"accepted\":0,\"connections\":0},"
            "{\"time\":1.005E2,\"bytes_to_upstream\":\"10\",\"bytes_to_client\":\"20\","
            "\"accepted\":3,\"connections\":2},"
            "{\"time\":1.015E2,\"bytes_to_upstream\":\"1152921504606846966\","
            "\"bytes_to_client\":\"5\",\"accepted\":0,\"connections\":1}]}");
}

TEST(HistoryTest, TheOldestPointsGo) {
  History history;
  for (std::size_t i = 0; i < History::kMostPoints + 5; ++i) {
    history.add(static_cast<double>(i), counts({.accepted = i}));
  }
  const json::array points = history.to_json(0).at("points").as_array();
  ASSERT_EQ(points.size(), History::kMostPoints);
  EXPECT_EQ(points.front().at("time"), 5.0);
  EXPECT_EQ(points.back().at("accepted"), 1);
}

TEST(HistoryTest, TotalsThatFallAreNoTraffic) {
  History history;
  history.add(1, counts({10, 10, 10, 10}));
  history.add(2, counts({3, 3, 3, 3}));
  history.add(3, counts({4, 5, 6, 7}));
  const json::array points = history.to_json(3).at("points").as_array();
  EXPECT_EQ(points[1].at("bytes_to_upstream"), "0");
  EXPECT_EQ(points[1].at("accepted"), 0);
  EXPECT_EQ(points[2].at("bytes_to_client"), "2");
  EXPECT_EQ(points[2].at("connections"), 7);
}

TEST(HistoryTest, CountsAreThoseOfAllWorkers) {
  const Routes routes{route(0), route(1)};
  for (std::size_t i = 0; i < 2; ++i) {
    routes[i]->stats->counts[1].accepted.add(5);
    routes[i]->stats->counts[i].active.add(1);
    routes[i]->stats->traffic[0].to_upstream.forwarded_bytes.add(7);
    routes[i]->stats->traffic[1].to_upstream.forwarded_bytes.add(i);
  }
  const History::Counts counts = history_counts(routes);
  ASSERT_EQ(counts.size(), 2U);
  EXPECT_EQ(counts.at(routes[0]->stats).totals.accepted, 5U);
  EXPECT_EQ(counts.at(routes[0]->stats).totals.bytes_to_upstream, 7U);
  EXPECT_EQ(counts.at(routes[1]->stats).totals.bytes_to_upstream, 8U);
  EXPECT_EQ(counts.at(routes[1]->stats).totals.connections, 1U);
}

TEST(HistoryTest, RoutesThatComeAndGoHideNoTrafficOfOthers) {
  const auto kept = route(0), gone = route(1), added = route(1);
  gone->stats->counts.back().accepted.add(1000);
  History history;
  history.add(1, history_counts({gone, kept}));
  kept->stats->counts[0].accepted.add(5);
  added->stats->counts[0].accepted.add(2);
  history.add(2, history_counts({kept, added}));
  history.add(3, history_counts({added}));
  const json::array points = history.to_json(3).at("points").as_array();
  EXPECT_EQ(points[0].at("accepted"), 0) << "the totals of a process before are no traffic";
  EXPECT_EQ(points[1].at("accepted"), 7);
  EXPECT_EQ(points[2].at("accepted"), 0);
}

}  // namespace
}  // namespace sluice::admin
