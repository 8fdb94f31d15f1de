#include "proxy/reload/diff.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace sluice {
namespace {

RouteConfig route(const std::string& name, std::uint16_t port) {
  RouteConfig config;
  config.name = name;
  config.listen = {HostPort{"127.0.0.1", port}};
  config.to = {{HostPort{"10.0.0.1", 80}}};
  return config;
}

/// Each change as "op route key old new", without what is empty.
std::vector<std::string> texts(const std::vector<ConfigDiff::Change>& changes) {
  std::vector<std::string> all;
  for (const ConfigDiff::Change& each : changes) {
    std::string text = each.op;
    for (const std::string& part : {each.route, each.key, each.old_value, each.new_value}) {
      if (!part.empty()) text += " " + part;
    }
    all.push_back(std::move(text));
  }
  return all;
}

class DiffTest : public testing::Test {
 protected:
  DiffTest() {
    from_.routes = {route("a", 1), route("b", 2)};
    to_ = from_;
  }
  [[nodiscard]] std::vector<std::string> changes() const { return texts(diff(from_, to_).changes); }
  [[nodiscard]] std::vector<std::string> not_hot() const { return texts(diff(from_, to_).not_hot); }
  using Texts = std::vector<std::string>;

  Config from_;
  Config to_;
};

TEST_F(DiffTest, NothingHasChanged) {
  EXPECT_EQ(changes(), Texts{});
  EXPECT_EQ(diff(from_, to_).differs, (std::vector<bool>{false, false}));
}

TEST_F(DiffTest, TheOrderOfRoutesIsNoChange) {
  to_.routes = {route("b", 2), route("a", 1)};
  const ConfigDiff found = diff(from_, to_);
  EXPECT_TRUE(found.changes.empty());
  EXPECT_EQ(found.continues, (std::vector<std::optional<std::size_t>>{1, 0}));
}

TEST_F(DiffTest, ARouteIsAddedAndOneRemoved) {
  to_.routes = {route("b", 2), route("c", 3)};
  EXPECT_EQ(changes(), (Texts{"add c", "remove a"}));
  const ConfigDiff found = diff(from_, to_);
  EXPECT_EQ(found.continues, (std::vector<std::optional<std::size_t>>{1, std::nullopt}));
  EXPECT_EQ(found.differs, (std::vector<bool>{false, true}));
  EXPECT_TRUE(found.not_hot.empty());
}

TEST_F(DiffTest, ARouteThatKeepsItsAddressUnderANewNameIsRenamed) {
  to_.routes[0].name = "c";
  EXPECT_EQ(changes(), Texts{"change c name a c"});
  EXPECT_EQ(diff(from_, to_).continues, (std::vector<std::optional<std::size_t>>{0, 1}));
}

TEST_F(DiffTest, NamesCountMoreThanAddresses) {
  to_.routes = {route("a", 2), route("b", 1)};
  EXPECT_EQ(changes(), (Texts{"change a listen 127.0.0.1:1 127.0.0.1:2",
                              "change b listen 127.0.0.1:2 127.0.0.1:1"}));
}

TEST_F(DiffTest, AFreePortNamesNoRoute) {
  from_.routes = {route("a", 0)};
  to_.routes = {route("b", 0)};
  EXPECT_EQ(changes(), (Texts{"add b", "remove a"}));
}

TEST_F(DiffTest, TargetsWithTheirWeights) {
  to_.routes[0].to = {{HostPort{"10.0.0.1", 80}, 3}, {HostPort{"10.0.0.2", 80}, 1, true}};
  EXPECT_EQ(changes(), Texts{"change a to 10.0.0.1:80 10.0.0.1:80 weight=3, 10.0.0.2:80 backup"});
}

TEST_F(DiffTest, Matches) {
  RouteMatch match;
  match.sni = {"x.example", "y.example"};
  match.route = "b";
  to_.routes[0].matches = {match};
  EXPECT_EQ(changes(), Texts{"change a match sni=x.example, y.example route=b"});
}

TEST_F(DiffTest, KeysOfARouteAreHot) {
  to_.routes[0].balance = Balance::round_robin;
  to_.routes[0].idle_timeout = std::chrono::seconds(5);
  to_.routes[0].proxy_out = ProxyOut::v2;
  EXPECT_EQ(changes(), (Texts{"change a balance two-choices round-robin",
                              "change a proxy-out off v2", "change a idle-timeout 1h 5s"}));
  EXPECT_EQ(not_hot(), Texts{});
}

TEST_F(DiffTest, WhatAServerIsAskedIsNotShown) {
  to_.routes[0].health_send = "AUTH secret";
  EXPECT_EQ(changes(), Texts{"change a health-send (not shown)"});
}

TEST_F(DiffTest, SomeKeysOfTheProcessAreHot) {
  to_.log_level = LogLevel::debug;
  to_.drain_timeout = std::chrono::seconds(1);
  to_.lame_duck = std::chrono::seconds(2);
  to_.max_connections = 7;
  EXPECT_EQ(changes().size(), 4U);
  EXPECT_EQ(not_hot(), Texts{});
  to_.workers = 3;
  to_.admin = {HostPort{"127.0.0.1", 9}};
  to_.log_file = "/log";
  EXPECT_EQ(not_hot(),
            (Texts{"change workers 3", "change log-file /log", "change admin 127.0.0.1:9"}));
}

TEST_F(DiffTest, CapturesAndMirrorsComeAndGo) {
  from_.routes[0].capture = "/old";
  to_.routes[0].capture = "/new";
  to_.routes[0].durability = capture::Durability::none;
  to_.routes[1].mirrors = {HostPort{"10.0.0.9", 80}};
  EXPECT_EQ(changes(), (Texts{"change a capture /old /new", "change a durability batch none",
                              "change b mirror 10.0.0.9:80"}));
  EXPECT_EQ(not_hot(), Texts{});
}

TEST_F(DiffTest, TheSettingsOfAnOpenDirectoryAreNotHot) {
  for (RouteConfig* each : {&from_.routes[0], &to_.routes[0]}) each->capture = "/dir";
  to_.routes[0].capture_limit_bytes = 1 << 20;
  EXPECT_EQ(not_hot(), Texts{});
  to_.routes[0].retain_size_bytes = 1 << 30;
  EXPECT_EQ(not_hot(), Texts{"change a retain-size 0B 1GiB"});
}

TEST_F(DiffTest, AListFileWithOtherContentIsAChange) {
  for (Config* each : {&from_, &to_}) {
    each->routes[0].allow = {FileEndpoint{"/list"}};
    const std::vector<Prefix> allowed = {
        *Prefix::parse(each == &from_ ? "10.0.0.0/8" : "11.0.0.0/8")};
    each->routes[0].clients =
        std::make_shared<const balance::PrefixSet>(allowed, std::vector<Prefix>());
  }
  EXPECT_EQ(changes(), Texts{"change a allow file:/list file:/list"});
  to_.routes[0].clients = from_.routes[0].clients;
  EXPECT_EQ(changes(), Texts{});
}

}  // namespace
}  // namespace sluice
