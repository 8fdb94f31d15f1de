#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proxy/upstream/server_set.h"

namespace sluice {
namespace {

RouteConfig route_to(const std::vector<std::string>& targets) {
  RouteConfig config;
  for (const std::string& each : targets) config.to.push_back({*parse_target_address(each)});
  return config;
}

/// What a route knows of its servers, and what is left of that for its next configuration.
class KnownServersTest : public testing::Test {
 protected:
  void have(const std::vector<std::string>& targets) {
    old_ = route_to(targets);
    known_ = make_server_set(old_);
  }
  [[nodiscard]] std::shared_ptr<const ServerSet> continued(const RouteConfig& config) const {
    return with_known_servers(config, known_, old_);
  }
  [[nodiscard]] const ServerLoad* load(std::size_t server) const {
    return known_->servers[server]->load.get();
  }

  RouteConfig old_;
  std::shared_ptr<const ServerSet> known_;
};

TEST_F(KnownServersTest, NothingHasChanged) {
  have({"10.0.0.1:80", "unix:/socket"});
  EXPECT_EQ(continued(old_), known_);
}

TEST_F(KnownServersTest, TheSameAddressIsTheSameServer) {
  have({"10.0.0.1:80", "10.0.0.2:80"});
  RouteConfig config = route_to({"10.0.0.3:80", "10.0.0.2:80"});
  config.to[1].weight = 7;
  const auto set = continued(config);
  ASSERT_EQ(set->servers.size(), 2U);
  EXPECT_NE(set->servers[0]->load.get(), load(0));
  EXPECT_EQ(set->servers[1]->load.get(), load(1));
  EXPECT_EQ(set->servers[1]->weight, 7U);
}

TEST_F(KnownServersTest, AnotherWayToPickKeepsTheServers) {
  have({"10.0.0.1:80"});
  RouteConfig config = old_;
  config.balance = Balance::source_hash;
  const auto set = continued(config);
  EXPECT_NE(set, known_);
  EXPECT_EQ(set->servers[0], known_->servers[0]);
  EXPECT_NE(set->tiers[0].table, nullptr);
}

TEST_F(KnownServersTest, AnAddressOfANameStays) {
  have({"host:80"});
  known_ = with_endpoints(*known_, 0, {make_endpoint(*numeric_address({"10.0.0.1", 80}))});
  const auto moved = continued(route_to({"other:80", "host:80"}));
  ASSERT_EQ(moved->servers.size(), 2U);
  EXPECT_TRUE(moved->servers[0]->endpoints.empty());
  EXPECT_EQ(moved->servers[1]->load.get(), load(0));
  EXPECT_EQ(moved->servers[1]->endpoints, known_->servers[0]->endpoints);
  const auto numeric = continued(route_to({"10.0.0.1:80"}));
  EXPECT_EQ(numeric->servers[0]->load.get(), load(0)) << "it is where the name led";
}

TEST_F(KnownServersTest, ServersOfANameMoveWithIt) {
  have({"dns:hosts:80"});
  const std::vector<NamedServer> found = {
      {"10.0.0.1:80", *numeric_address({"10.0.0.1", 80}), 1, false}};
  const std::vector<std::span<const NamedServer>> by_index = {found};
  known_ = with_named_servers(*known_, old_, by_index).set;
  const RouteConfig config = route_to({"10.0.0.9:80", "dns:hosts:80"});
  const auto set = continued(config);
  ASSERT_EQ(set->servers.size(), 2U);
  EXPECT_EQ(set->servers[1]->index, 1U);
  EXPECT_EQ(set->servers[1]->load.get(), load(0));
  const std::vector<std::span<const NamedServer>> moved = {{}, found};
  EXPECT_EQ(with_named_servers(*set, config, moved).set->servers[1], set->servers[1]);
  EXPECT_TRUE(continued(route_to({"dns:others:80"}))->servers.empty());
}

TEST_F(KnownServersTest, ATargetThatIsNoServerHasNone) {
  have({"10.0.0.1:80"});
  EXPECT_TRUE(continued(route_to({"echo:"}))->servers.empty());
  have({"echo:"});
  EXPECT_EQ(continued(route_to({"10.0.0.1:80"}))->servers.size(), 1U);
}

}  // namespace
}  // namespace sluice
