#include "proxy/upstream/balancer.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "proxy/config/config.h"

namespace sluice {
namespace {

class BalancerTest : public testing::TestWithParam<Balance> {
 protected:
  /// Servers a, b, ... of these weights; negative ones are backups.
  static std::shared_ptr<const ServerSet> servers(const std::vector<int>& weights,
                                                  Balance balance = GetParam()) {
    RouteConfig config;
    config.balance = balance;
    for (const int weight : weights) {
      const std::string host(1, static_cast<char>('a' + config.to.size()));
      config.to.push_back({HostPort{host, 1}, static_cast<std::uint32_t>(std::abs(weight)),
                           weight < 0});
    }
    return make_server_set(config);
  }
  static Balancer balancer(std::shared_ptr<const ServerSet> set) {
    return {std::move(set), balance::Random(1)};
  }
  static std::string name_of(const ServerRef& server) { return server ? server->name : "none"; }
};

TEST_P(BalancerTest, ServersThatWereTriedAreNotPickedAgain) {
  Balancer picks = balancer(servers({1, 1, 1, -1, -1}));
  for (std::uint64_t source = 0; source < 100; ++source) {
    std::vector<ServerRef> tried;
    std::set<std::string> names;
    for (int i = 0; i < 5; ++i) {
      const ServerRef picked = picks.pick(source, tried);
      ASSERT_NE(picked, nullptr);
      EXPECT_EQ(picked->backup, i >= 3) << "the backups come last";
      EXPECT_TRUE(names.insert(picked->name).second);
      tried.push_back(picked);
    }
    EXPECT_EQ(picks.pick(source, tried), nullptr);
  }
}

TEST_P(BalancerTest, OneWithoutAWeightIsNeverPicked) {
  Balancer picks = balancer(servers({0, 1}));
  for (std::uint64_t source = 0; source < 100; ++source) {
    EXPECT_EQ(name_of(picks.pick(source, {})), "b:1");
  }
}

TEST_P(BalancerTest, OneServerIsAlwaysPicked) {
  Balancer picks = balancer(servers({1}));
  EXPECT_EQ(name_of(picks.pick(7, {})), "a:1");
  const std::vector<ServerRef> tried{picks.pick(7, {})};
  EXPECT_EQ(picks.pick(7, tried), nullptr);
}

TEST_P(BalancerTest, AServerStaysTriedWithNewAddresses) {
  const auto set = servers({1, 1});
  Balancer picks = balancer(set);
  const std::vector<ServerRef> tried{set->servers[0]};
  picks.use(with_endpoints(*set, 0, {make_endpoint(UnixEndpoint{"/s"})}));
  for (std::uint64_t source = 0; source < 20; ++source) {
    EXPECT_EQ(name_of(picks.pick(source, tried)), "b:1");
  }
}

TEST_P(BalancerTest, WithoutServersThereIsNothingToPick) {
  Balancer picks = balancer(std::make_shared<const ServerSet>());
  EXPECT_EQ(picks.pick(0, {}), nullptr);
}

INSTANTIATE_TEST_SUITE_P(EveryBalance, BalancerTest,
                         testing::Values(Balance::two_choices, Balance::round_robin,
                                         Balance::least_connections, Balance::source_hash));

TEST(ServerUse, CountsWhileItLasts) {
  const auto load = std::make_shared<ServerLoad>();
  const auto make = [&] {
    auto server = std::make_shared<Server>();
    server->load = load;
    return ServerRef(std::move(server));
  };
  {
    ServerUse use(make());
    EXPECT_EQ(load->active, 1U);
    use = ServerUse(make());
    EXPECT_EQ(load->active, 1U);
    const ServerUse moved = std::move(use);
    EXPECT_EQ(load->active, 1U);
  }
  EXPECT_EQ(load->active, 0U);
}

TEST(ServerSet, NewAddressesKeepTheLoad) {
  RouteConfig config;
  config.to = {{HostPort{"name", 1}}, {HostPort{"127.0.0.1", 2}}};
  const auto before = make_server_set(config);
  EXPECT_TRUE(before->servers[0]->endpoints.empty()) << "it has to be looked up";
  EXPECT_EQ(before->servers[1]->endpoints.at(0).text, "127.0.0.1:2");
  const auto after = with_endpoints(*before, 0, {make_endpoint(UnixEndpoint{"/s"})});
  EXPECT_EQ(after->servers[0]->load, before->servers[0]->load);
  EXPECT_EQ(after->servers[0]->endpoints.size(), 1U);
  EXPECT_EQ(after->servers[1], before->servers[1]);
}

}  // namespace
}  // namespace sluice
