#include "proxy/reload/listen_plan.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "proxy/reload/diff.h"

namespace sluice {
namespace {

RouteConfig listening(const std::string& name, const std::vector<std::string>& addresses) {
  RouteConfig config;
  config.name = name;
  for (const std::string& each : addresses) config.listen.push_back(*parse_listen_address(each));
  return config;
}

/// What becomes of the addresses of a configuration; the first group of new ones is 100.
ListenPlan plan(const std::vector<RouteConfig>& from_routes,
                const std::vector<RouteConfig>& to_routes) {
  Config from;
  from.routes = from_routes;
  Config to;
  to.routes = to_routes;
  return plan_listeners(addresses_of(from), to, diff(from, to).continues, 100);
}

std::vector<std::size_t> groups(const std::vector<OpenAddress>& addresses) {
  std::vector<std::size_t> all;
  for (const OpenAddress& each : addresses) all.push_back(each.group);
  return all;
}
using Groups = std::vector<std::size_t>;

TEST(ListenPlan, WhatStaysKeepsItsSockets) {
  const ListenPlan found = plan({listening("a", {":1", "unix:/a"}), listening("b", {":2"})},
                                {listening("b", {":2"}), listening("a", {"unix:/a", ":3"})});
  EXPECT_EQ(groups(found.kept), (Groups{2, 1}));
  EXPECT_EQ(found.kept[0].route, 0U);
  EXPECT_EQ(groups(found.added), Groups{100});
  EXPECT_EQ(found.added[0].route, 1U);
  EXPECT_EQ(groups(found.removed), Groups{0});
}

TEST(ListenPlan, AnAddressCanLeadToAnotherRoute) {
  const ListenPlan found = plan({listening("a", {":1"}), listening("b", {":2"})},
                                {listening("a", {":2"}), listening("b", {":1"})});
  EXPECT_EQ(groups(found.kept), (Groups{1, 0}));
  EXPECT_TRUE(found.added.empty());
  EXPECT_TRUE(found.removed.empty());
}

TEST(ListenPlan, SpellingsOfAnAddressAreEqual) {
  const ListenPlan found = plan({listening("a", {"[0:0::1]:1", "unix:/x/../a"})},
                                {listening("a", {"[::1]:1", "unix:/a"})});
  EXPECT_EQ(groups(found.kept), (Groups{0, 1}));
}

TEST(ListenPlan, AChosenPortStaysWithItsRoute) {
  const ListenPlan found = plan({listening("a", {"127.0.0.1:0"}), listening("b", {"127.0.0.1:0"})},
                                {listening("c", {"127.0.0.1:0"}), listening("b", {"127.0.0.1:0"})});
  EXPECT_EQ(groups(found.kept), Groups{1});
  EXPECT_EQ(groups(found.added), Groups{100});
  EXPECT_EQ(groups(found.removed), Groups{0});
}

TEST(ListenPlan, AWildcardIsAnotherAddress) {
  const ListenPlan found = plan({listening("a", {"127.0.0.1:1"})}, {listening("a", {":1"})});
  EXPECT_EQ(groups(found.added), Groups{100});
  EXPECT_EQ(groups(found.removed), Groups{0});
}

}  // namespace
}  // namespace sluice
