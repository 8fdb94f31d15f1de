#include "proxy/upstream/balancer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/config/config.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

class BalancerTest : public testing::TestWithParam<Balance> {
 protected:
  /// Servers a, b, ... of these weights; negative ones are backups.
  static std::shared_ptr<const ServerSet> servers(const std::vector<int>& weights,
                                                  Balance balance = GetParam()) {
    RouteConfig config;
    config.balance = balance;
    for (const int weight : weights) {
      const std::string host(1, static_cast<char>('a' + config.to.size()));
      config.to.push_back(
          {HostPort{host, 1}, static_cast<std::uint32_t>(std::abs(weight)), weight < 0});
    }
    return make_server_set(config);
  }
  static Balancer balancer(std::shared_ptr<const ServerSet> set) {
    return {std::move(set), balance::Random(1)};
  }
  static std::string name_of(const ServerRef& server) { return server ? server->name : "none"; }
  static ServerRef pick(Balancer& balancer, std::uint64_t source,
                        std::span<const ServerRef> tried = {}) {
    return balancer.pick(source, tried, TimePoint(1h), 5s).server;
  }
};

TEST_P(BalancerTest, ServersThatWereTriedAreNotPickedAgain) {
  Balancer picks = balancer(servers({1, 1, 1, -1, -1}));
  for (std::uint64_t source = 0; source < 100; ++source) {
    std::vector<ServerRef> tried;
    std::set<std::string> names;
    for (int i = 0; i < 5; ++i) {
      const ServerRef picked = pick(picks, source, tried);
      ASSERT_NE(picked, nullptr);
      EXPECT_EQ(picked->backup, i >= 3) << "the backups come last";
      EXPECT_TRUE(names.insert(picked->name).second);
      tried.push_back(picked);
    }
    EXPECT_EQ(pick(picks, source, tried), nullptr);
  }
}

TEST_P(BalancerTest, OneWithoutAWeightIsNeverPicked) {
  Balancer picks = balancer(servers({0, 1}));
  for (std::uint64_t source = 0; source < 100; ++source) {
    EXPECT_EQ(name_of(pick(picks, source)), "b:1");
  }
}

TEST_P(BalancerTest, OneServerIsAlwaysPicked) {
  Balancer picks = balancer(servers({1}));
  EXPECT_EQ(name_of(pick(picks, 7)), "a:1");
  const std::vector<ServerRef> tried{pick(picks, 7)};
  EXPECT_EQ(pick(picks, 7, tried), nullptr);
}

TEST_P(BalancerTest, AServerStaysTriedWithNewAddresses) {
  const auto set = servers({1, 1});
  Balancer picks = balancer(set);
  const std::vector<ServerRef> tried{set->servers[0]};
  picks.use(with_endpoints(*set, 0, {make_endpoint(UnixEndpoint{"/s"})}));
  for (std::uint64_t source = 0; source < 20; ++source) {
    EXPECT_EQ(name_of(pick(picks, source, tried)), "b:1");
  }
}

TEST_P(BalancerTest, WithoutServersThereIsNothingToPick) {
  Balancer picks = balancer(std::make_shared<const ServerSet>());
  EXPECT_EQ(pick(picks, 0), nullptr);
}

TEST_P(BalancerTest, AnEjectedServerIsPickedOnlyIfNoOtherIsLeft) {
  const auto set = servers({1, 1, -1});
  Balancer picks = balancer(set);
  const TimePoint now(1h);
  set->servers[0]->load->ejected_until = (now + 1s).time_since_epoch().count();
  for (std::uint64_t source = 0; source < 50; ++source) {
    std::vector<ServerRef> tried;
    std::string names;
    while (const ServerRef picked = picks.pick(source, tried, now, 5s).server) {
      names += picked->name[0];
      tried.push_back(picked);
    }
    EXPECT_EQ(names, "bca");
  }
}

TEST_P(BalancerTest, AServerThatIsDownIsPickedOnlyIfNoOtherIsLeft) {
  const auto set = servers({1, 1, -1});
  Balancer picks = balancer(set);
  set->servers[0]->load->down = true;
  for (std::uint64_t source = 0; source < 50; ++source) {
    EXPECT_EQ(name_of(pick(picks, source)), "b:1");
  }
  set->servers[1]->load->down = true;
  for (std::uint64_t source = 0; source < 50; ++source) {
    EXPECT_EQ(name_of(pick(picks, source)), "c:1");
  }
  set->servers[2]->load->down = true;
  std::set<std::string> names;
  for (std::uint64_t source = 0; source < 50; ++source) names.insert(name_of(pick(picks, source)));
  EXPECT_EQ(names, (std::set<std::string>{"a:1", "b:1"})) << "as if all were up";
  set->servers[0]->load->ejected_until = (TimePoint(1h) + 1s).time_since_epoch().count();
  for (std::uint64_t source = 0; source < 50; ++source) {
    EXPECT_EQ(name_of(pick(picks, source)), "b:1") << "connects have not failed there";
  }
}

TEST_P(BalancerTest, AServerThatAnOperatorDrainsOrTakesDownIsNeverPicked) {
  const auto set = servers({1, 1, -1});
  Balancer picks = balancer(set);
  const auto all_go_to = [&](const std::string& name) {
    for (std::uint64_t source = 0; source < 50; ++source) {
      if (name_of(pick(picks, source)) != name) return false;
      if (name_of(picks.pick_hedge(source, {}, TimePoint(1h), 5s).server) != name) return false;
    }
    return true;
  };
  set->servers[0]->load->order = Order::drain;
  EXPECT_TRUE(all_go_to("b:1"));
  set->servers[1]->load->order = Order::down;
  EXPECT_TRUE(all_go_to("c:1"));
  set->servers[2]->load->order = Order::drain;
  EXPECT_TRUE(all_go_to("none")) << "not even if no other is left";
  set->servers[1]->load->order = Order::up;
  EXPECT_TRUE(all_go_to("b:1"));
}

TEST_P(BalancerTest, OneThatIsDownIsBetterThanOneThatAnOperatorDrains) {
  const auto set = servers({1, 1, 1});
  Balancer picks = balancer(set);
  set->servers[0]->load->order = Order::drain;
  set->servers[1]->load->down = true;
  set->servers[2]->load->down = true;
  set->servers[2]->load->ejected_until = (TimePoint(1h) + 1s).time_since_epoch().count();
  for (std::uint64_t source = 0; source < 50; ++source) {
    std::vector<ServerRef> tried;
    std::string names;
    while (const ServerRef picked = pick(picks, source, tried)) {
      names += picked->name[0];
      tried.push_back(picked);
    }
    EXPECT_EQ(names, "bc");
  }
}

/// Else all workers and all hosts would begin with the same server.
/// A limit is never wrong either: not even the last server gets a connection more.
TEST_P(BalancerTest, AFullServerIsNeverPicked) {
  RouteConfig config;
  config.balance = GetParam();
  config.server_connections = 2;
  config.to = {{HostPort{"a", 1}}, {HostPort{"b", 1}, 1, false, 1}, {HostPort{"c", 1}, 1, true}};
  Balancer picks = balancer(make_server_set(config));
  std::map<std::string, int> counts;
  std::vector<ServerUse> uses;
  while (ServerRef picked = pick(picks, uses.size())) {
    ++counts[picked->name];
    if (picked->backup) {
      EXPECT_EQ(uses.size() / 3, 1U) << "the backup comes last";
    }
    uses.emplace_back(std::move(picked));
    ASSERT_TRUE(uses.back());
  }
  EXPECT_EQ(counts, (std::map<std::string, int>{{"a:1", 2}, {"b:1", 1}, {"c:1", 2}}));
  EXPECT_TRUE(picks.is_full());
  EXPECT_FALSE(ServerUse(picks.set().servers[1])) << "it is full";
  EXPECT_EQ(picks.set().servers[1]->load->active, 1U);
  uses.pop_back();
  EXPECT_EQ(name_of(pick(picks, 0)), "c:1");
}

/// It is not the one that failed.
TEST_P(BalancerTest, AServerThatIsDownIsNotTriedForOneThatIsFull) {
  RouteConfig config;
  config.balance = GetParam();
  config.server_connections = 1;
  config.to = {{HostPort{"a", 1}}, {HostPort{"b", 1}}};
  Balancer picks = balancer(make_server_set(config));
  picks.set().servers[1]->load->down = true;
  std::optional<ServerUse> use(std::in_place, pick(picks, 0));
  EXPECT_EQ((*use)->name, "a:1");
  EXPECT_EQ(pick(picks, 0), nullptr);
  EXPECT_TRUE(picks.is_full());
  use.reset();
  picks.set().servers[0]->load->down = true;
  EXPECT_NE(pick(picks, 0), nullptr) << "checks can be wrong";
}

TEST_P(BalancerTest, ThoseThatStartTogetherBeginWithDifferentServers) {
  constexpr int kStarts = 1'000;
  const auto set = servers({1, 1, 1, 1, 1});
  std::map<std::string, int> first;
  for (std::uint64_t start = 0; start < kStarts; ++start) {
    // Clients differ, too: source-hash follows them.
    Balancer picks(set, balance::Random(start));
    ++first[name_of(pick(picks, start))];
  }
  double chi_squared = 0;
  constexpr double kExpected = kStarts / 5.0;
  for (const auto& [name, count] : first) {
    chi_squared += (count - kExpected) * (count - kExpected) / kExpected;
  }
  ASSERT_EQ(first.size(), 5U);
  EXPECT_LT(chi_squared, 18.47) << "four degrees of freedom, one in a thousand";
}

TEST_P(BalancerTest, AHedgeGoesToNoServerThatWasTriedOrIsDownOrEjected) {
  const auto set = servers({1, 1, 1, 1, -1});
  Balancer picks = balancer(set);
  const TimePoint now(1h);
  const auto hedge = [&](std::span<const ServerRef> tried, TimePoint at) {
    return picks.pick_hedge(7, tried, at, 5s);
  };
  set->servers[0]->load->ejected_until = (now + 1s).time_since_epoch().count();
  set->servers[3]->load->down = true;
  std::vector<ServerRef> tried{set->servers[1]};
  EXPECT_EQ(name_of(hedge(tried, now).server), "c:1");
  tried.push_back(set->servers[2]);
  EXPECT_EQ(name_of(hedge(tried, now).server), "e:1");
  tried.push_back(set->servers[4]);
  EXPECT_EQ(hedge(tried, now).server, nullptr);
  EXPECT_NE(picks.pick(7, tried, now, 5s).server, nullptr);
  const Balancer::Pick trial = hedge(tried, now + 1s);
  EXPECT_EQ(name_of(trial.server), "a:1");
  EXPECT_TRUE(trial.on_trial);
}

class RoundRobinTest : public BalancerTest {};

TEST_P(RoundRobinTest, AHedgeTakesNoTurn) {
  Balancer picks = balancer(servers({1, 1}));
  std::string names;
  for (int i = 0; i < 4; ++i) {
    const std::vector<ServerRef> tried{pick(picks, 0)};
    names += tried[0]->name[0];
    EXPECT_NE(picks.pick_hedge(0, tried, TimePoint(1h), 5s).server, tried[0]);
  }
  EXPECT_TRUE(names == "abab" || names == "baba") << names;
}

TEST_P(BalancerTest, AfterItsEjectionOneConnectionTriesAServer) {
  const auto set = servers({1, 1});
  Balancer picks = balancer(set);
  const TimePoint now(1h);
  set->servers[0]->load->ejected_until = now.time_since_epoch().count();
  int trials = 0;
  for (std::uint64_t source = 0; source < 50; ++source) {
    const Balancer::Pick picked = picks.pick(source, {}, now, 5s);
    if (picked.on_trial) ++trials;
    EXPECT_EQ(picked.server->name, picked.on_trial ? "a:1" : "b:1");
  }
  EXPECT_EQ(trials, 1);
  // A trial that is never decided is over after its time.
  for (std::uint64_t source = 0; source < 50; ++source) {
    if (picks.pick(source, {}, now + 5s, 5s).on_trial) ++trials;
  }
  EXPECT_EQ(trials, 2);
}

INSTANTIATE_TEST_SUITE_P(Its, RoundRobinTest, testing::Values(Balance::round_robin));
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

TEST(ServerUse, FallsWithItsServer) {
  auto server = std::make_shared<Server>();
  server->load = std::make_shared<ServerLoad>();
  ServerLoad& load = *server->load;
  EXPECT_FALSE(ServerUse().has_fallen());
  ServerUse use(server);
  load.order = Order::drain;
  EXPECT_FALSE(use.has_fallen());
  load.order = Order::down;
  EXPECT_TRUE(use.has_fallen());
  EXPECT_TRUE(ServerUse(server).has_fallen()) << "it was picked just before";
  load.order = Order::up;
  EXPECT_FALSE(use.has_fallen());
  ++load.falls;
  EXPECT_TRUE(use.has_fallen());
  EXPECT_FALSE(ServerUse(server).has_fallen());
}

TEST(ServerUse, ManyThreadsNeverExceedALimit) {
  RouteConfig config;
  config.to = {{HostPort{"a", 1}, 1, false, 3}};
  const ServerRef server = make_server_set(config)->servers[0];
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int step = 0; step < 20'000; ++step) {
        const ServerUse use(server);
        const std::uint32_t active = server->load->active;
        if (active > 3) ADD_FAILURE() << active;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(server->load->active, 0U);
}

TEST(ServerSet, AnotherLimitKeepsTheLoad) {
  RouteConfig config;
  config.to = {{HostPort{"a", 1}}};
  const auto set = make_server_set(config);
  const ServerUse use(set->servers[0]);
  RouteConfig changed = config;
  changed.server_connections = 1;
  const auto limited = with_known_servers(changed, set, config);
  EXPECT_EQ(limited->servers[0]->load, set->servers[0]->load);
  EXPECT_TRUE(limited->servers[0]->is_full());
  EXPECT_FALSE(set->servers[0]->is_full()) << "what others still use has not changed";
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

class NamedSetTest : public testing::Test {
 protected:
  static NamedServer named(const std::string& host, std::uint32_t weight = 1, bool backup = false) {
    const SocketAddress address = *numeric_address({host, 1});
    return {address.to_string(), address, weight, backup};
  }
  void have(const std::vector<std::vector<NamedServer>>& found) {
    const std::vector<std::span<const NamedServer>> spans(found.begin(), found.end());
    BoundedSet bounded = with_named_servers(*set_, config_, spans);
    set_ = std::move(bounded.set);
    unbounded_ = bounded.unbounded;
  }
  /// "name*weight", and "!" for a backup.
  [[nodiscard]] std::string servers() const {
    std::string all;
    for (const ServerRef& server : set_->servers) {
      all += (all.empty() ? "" : " ") + server->name + "*" + std::to_string(server->weight) +
             (server->backup ? "!" : "");
    }
    return all;
  }
  void start() { set_ = make_server_set(config_); }

  RouteConfig config_;
  std::shared_ptr<const ServerSet> set_;
  std::size_t unbounded_ = 0;
};

TEST_F(NamedSetTest, NamesStandWhereTheyAreConfigured) {
  config_.to = {{DnsName{"a", 1}, 3}, {HostPort{"127.0.0.1", 1}, 5}, {SrvName{"b"}, 1, true}};
  start();
  EXPECT_EQ(servers(), "127.0.0.1:1*5");
  have({{named("10.0.0.1"), named("10.0.0.2")}, {}, {named("10.0.0.3", 256)}});
  EXPECT_EQ(servers(), "10.0.0.1:1*3 10.0.0.2:1*3 127.0.0.1:1*5 10.0.0.3:1*256!");
  EXPECT_EQ(set_->tiers[0].members, (std::vector<std::uint32_t>{0, 1, 2}));
  EXPECT_EQ(set_->tiers[1].members, (std::vector<std::uint32_t>{3}));
  have({{}, {}, {}});
  EXPECT_EQ(servers(), "127.0.0.1:1*5");
}

TEST_F(NamedSetTest, WhatStaysIsTheSameServer) {
  config_.to = {{DnsName{"a", 1}}, {SrvName{"b"}}};
  start();
  have({{named("10.0.0.1"), named("10.0.0.2")}, {named("10.0.0.3", 1)}});
  const auto before = set_->servers;
  have({{named("10.0.0.2")}, {named("10.0.0.3", 7)}});
  ASSERT_EQ(set_->servers.size(), 2U);
  EXPECT_EQ(set_->servers[0], before[1]);
  EXPECT_NE(set_->servers[1], before[2]);
  EXPECT_EQ(set_->servers[1]->load, before[2]->load) << "its weight has changed";
  // It is the other name's now.
  have({{}, {named("10.0.0.2"), named("10.0.0.3", 7)}});
  EXPECT_EQ(set_->servers[0]->load, before[1]->load);
  EXPECT_EQ(set_->servers[0]->index, 1U);
  // One that was gone is a new one.
  have({{named("10.0.0.1")}, {}});
  EXPECT_NE(set_->servers[0]->load, before[0]->load);
}

TEST_F(NamedSetTest, AnAddressCountsOnceAsTheFirstSays) {
  config_.to = {{DnsName{"a", 1}}, {DnsName{"b", 1}, 2}, {HostPort{"10.0.0.3", 1}}};
  start();
  have({{named("10.0.0.1"), named("10.0.0.3")}, {named("10.0.0.1"), named("10.0.0.2")}, {}});
  EXPECT_EQ(servers(), "10.0.0.1:1*1 10.0.0.2:1*2 10.0.0.3:1*1");
  EXPECT_EQ(unbounded_, 3U);
}

TEST_F(NamedSetTest, ThereIsABoundThatConfiguredServersCountFor) {
  config_.to = {{DnsName{"a", 1}}, {HostPort{"10.9.0.1", 1}}};
  config_.balance = Balance::least_connections;
  start();
  std::vector<NamedServer> many;
  for (int i = 0; i < 300; ++i) {
    many.push_back(named("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256)));
  }
  have({many, {}});
  EXPECT_EQ(set_->servers.size(), kMostLeastConnections);
  EXPECT_EQ(set_->servers.back()->name, "10.9.0.1:1");
  EXPECT_EQ(unbounded_, 301U);
}

TEST_F(NamedSetTest, NewAddressesOfAConfiguredServerAreItsOwn) {
  config_.to = {{DnsName{"a", 1}}, {HostPort{"b", 1}}};
  start();
  have({{named("10.0.0.1"), named("10.0.0.2")}, {}});
  set_ = with_endpoints(*set_, 1, {make_endpoint(UnixEndpoint{"/s"})});
  EXPECT_EQ(set_->servers.at(2)->endpoints.at(0).text, "unix:/s");
  EXPECT_EQ(set_->servers.at(2)->name, "b:1");
}

/// Clients of servers that stay do not move, wherever these stand in the set.
TEST_F(NamedSetTest, TheTableFollowsTheServers) {
  config_.to = {{DnsName{"a", 1}}};
  config_.balance = Balance::source_hash;
  start();
  have({{named("10.0.0.1"), named("10.0.0.2"), named("10.0.0.3"), named("10.0.0.4")}});
  const auto picks = [this] {
    std::vector<std::string> names;
    Balancer balancer(set_, balance::Random(1));
    balance::Random random(1);
    for (int i = 0; i < 1'000; ++i) {
      names.push_back(balancer.pick(random.next(), {}, TimePoint(1h), 5s).server->name);
    }
    return names;
  };
  const auto before = picks();
  have({{named("10.0.0.2"), named("10.0.0.3"), named("10.0.0.4")}});
  const auto after = picks();
  int moved = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i] != "10.0.0.1:1" && before[i] != after[i]) ++moved;
  }
  EXPECT_LE(moved, 50);
}

}  // namespace
}  // namespace sluice
