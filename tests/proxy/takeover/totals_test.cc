#include "proxy/takeover/totals.h"

#include <gtest/gtest.h>

namespace sluice::takeover {
namespace {

Totals of_routes(std::vector<std::string> names,
                 std::map<std::string, std::vector<std::uint64_t>> values) {
  return {{"route", {std::move(names), std::move(values)}}};
}

TEST(TakeoverTotals, AreAddedByName) {
  Totals sums = of_routes({"accepted", "retries"}, {{"a", {5, 1}}});
  // A version that counts something else, in another order.
  add(sums, of_routes({"retries", "refused", "accepted"}, {{"a", {10, 20, 30}}, {"b", {1, 2, 3}}}));
  const Counted& routes = sums.at("route");
  EXPECT_EQ(routes.names, (std::vector<std::string>{"accepted", "retries", "refused"}));
  EXPECT_EQ(routes.values.at("a"), (std::vector<std::uint64_t>{35, 11, 20}));
  EXPECT_EQ(routes.values.at("b"), (std::vector<std::uint64_t>{3, 1, 2}));
}

TEST(TakeoverTotals, NewerOnesReplaceWhatTheyName) {
  Totals known = of_routes({"accepted"}, {{"a", {5}}, {"b", {7}}});
  replace(known, of_routes({"accepted"}, {{"a", {6}}}));
  EXPECT_EQ(known.at("route").values.at("a").front(), 6U);
  EXPECT_EQ(known.at("route").values.at("b").front(), 7U);
}

TEST(TakeoverTotals, OnlyChangesAreReported) {
  const Totals before = of_routes({"accepted"}, {{"a", {5}}, {"b", {7}}});
  const Totals now = of_routes({"accepted"}, {{"a", {5}}, {"b", {8}}, {"c", {0}}});
  const Totals changes = changed(now, before);
  EXPECT_EQ(changes.at("route").values.size(), 2U);
  EXPECT_TRUE(changes.at("route").values.contains("b"));
  EXPECT_TRUE(changes.at("route").values.contains("c"));
  EXPECT_TRUE(changed(now, now).empty());
}

TEST(TakeoverTotals, AreReadAsTheyWereWritten) {
  const Totals totals = of_routes({"accepted", "bytes"}, {{"a", {5, ~std::uint64_t{0}}}});
  const Totals read = totals_from_json(to_json(totals));
  EXPECT_EQ(read.at("route").names, totals.at("route").names);
  EXPECT_EQ(read.at("route").values, totals.at("route").values);
}

TEST(TakeoverTotals, WhatIsNoNumberCountsAsZero) {
  const Totals read = totals_from_json(
      json::parse(R"({"route":{"names":["x",3],"values":{"a":[-1,2,3],"b":7}},"other":[]})")
          .as_object());
  EXPECT_EQ(read.size(), 1U);
  EXPECT_EQ(read.at("route").values.at("a"), std::vector<std::uint64_t>{0});
  EXPECT_FALSE(read.at("route").values.contains("b"));
}

}  // namespace
}  // namespace sluice::takeover
