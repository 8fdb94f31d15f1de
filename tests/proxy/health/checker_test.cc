#include "proxy/health/checker.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/support/settings.h"
#include "tests/support/simulated_reactor.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

/// A checker on a simulated clock, whose checks have the outcome and the duration that the test
/// gives each server.
class CheckerTest : public testing::Test {
 protected:
  struct Script {
    CheckOutcome outcome;
    Duration takes = 0ms;
  };

  void have_servers(std::size_t count) {
    RouteConfig config;
    config.name = "r";
    config.health = Health::tcp;
    config.on_down = OnDown::reset;
    for (std::size_t i = 0; i < count; ++i) config.to.push_back({HostPort{name(i), 1}});
    routes_.push_back(make_route(0, config));
  }
  void start() {
    checker_.emplace(reactor_, routes_, changes_, balance::Random(7),
                     HealthChecker::Hooks{
                         [this](Reactor&, const Server& server, const RouteConfig&,
                                TimePoint deadline) { return check(server, deadline); },
                         [this](const Server& server) { return server.index == own_listener_; },
                         [this](const Route&, const Server& server) { ++failures_[server.index]; },
                         [this] { checked_once_ = reactor_.now(); }, [this] { ++resets_; }});
    checker_->start();
  }
  static std::string name(std::size_t server) { return "s" + std::to_string(server); }
  [[nodiscard]] bool down(std::size_t server) {
    return routes_[0].servers->servers[server]->load->down;
  }

  [[nodiscard]] std::string last_check(std::size_t server, std::size_t route = 0) {
    const ServerLoad* load = routes_[route].servers->servers[server]->load.get();
    return checker_->last_checks(route).at(load).text;
  }

  Task<CheckOutcome> check(const Server& server, TimePoint deadline) {
    times_[server.index].push_back(reactor_.now());
    EXPECT_EQ(deadline, reactor_.now() + 1s);
    most_ = std::max(most_, ++under_way_);
    const Script script = scripts_[server.index];
    if (script.takes > 0ms) co_await reactor_.sleep_until(reactor_.now() + script.takes);
    --under_way_;
    co_return script.outcome;
  }

  test::SimulatedReactor reactor_;
  std::vector<Route> routes_;
  ServerChanges changes_;
  std::map<std::size_t, Script> scripts_;
  std::map<std::size_t, std::vector<TimePoint>> times_;  ///< when each server was checked
  std::map<std::size_t, int> failures_;   ///< how often its addresses were said to be outdated
  std::size_t own_listener_ = 1'000'000;  ///< the server that is this process
  std::size_t under_way_ = 0;
  std::size_t most_ = 0;
  std::optional<TimePoint> checked_once_;
  int resets_ = 0;
  std::optional<HealthChecker> checker_;  // last: its checks use the others
};

const CheckOutcome kRefused{CheckResult::failed, "refused"};
const CheckOutcome kSilent{CheckResult::unanswered, "silent"};

TEST_F(CheckerTest, ChecksAllAtOnceFirstAndThenSpreadOverTheInterval) {
  have_servers(100);
  const TimePoint began = reactor_.now();
  start();
  EXPECT_EQ(checked_once_, began);
  reactor_.run_for(60s);
  std::vector<int> tenths(10);
  for (const auto& [server, times] : times_) {
    EXPECT_EQ(times[0], began);
    ASSERT_LE(times[1] - began, 2s + 2ms);
    ++tenths[static_cast<std::size_t>(std::min((times[1] - began) / 200ms, 9L))];
    for (std::size_t i = 2; i < times.size(); ++i) {
      EXPECT_GE(times[i] - times[i - 1], 1800ms);
      EXPECT_LE(times[i] - times[i - 1], 2202ms);
    }
    EXPECT_NEAR(static_cast<double>(times.size()), 31, 3);
  }
  for (const int count : tenths) EXPECT_NEAR(count, 10, 9) << "100 servers over ten tenths";
}

TEST_F(CheckerTest, AServerFallsAfterThreeAndRisesAfterTwo) {
  have_servers(2);
  start();
  reactor_.run_for(10s);
  scripts_[1].outcome = kRefused;
  const TimePoint failed = reactor_.now();
  while (!down(1)) reactor_.run_for(10ms);
  EXPECT_GE(reactor_.now() - failed, 3600ms) << "two intervals";
  EXPECT_LE(reactor_.now() - failed, 6700ms) << "three intervals";
  EXPECT_EQ(resets_, 1);
  EXPECT_FALSE(down(0));
  EXPECT_EQ(last_check(1), "refused");
  routes_[0].servers->servers[1]->load->ejected_until = TimePoint::max().time_since_epoch().count();
  scripts_[1].outcome = {};
  const TimePoint passed = reactor_.now();
  while (down(1)) reactor_.run_for(10ms);
  EXPECT_LE(reactor_.now() - passed, 4500ms);
  EXPECT_EQ(routes_[0].servers->servers[1]->load->ejected_until, 0) << "its ejection ends, too";
  EXPECT_EQ(last_check(1), "passed");
  EXPECT_EQ(resets_, 1);
}

TEST_F(CheckerTest, AnOrderOfAnOperatorChangesNoChecks) {
  have_servers(2);
  ServerLoad& load = *routes_[0].servers->servers[1]->load;
  load.order = Order::down;
  start();
  reactor_.run_for(10s);
  EXPECT_GE(times_[1].size(), 4U);
  scripts_[1].outcome = kRefused;
  while (!down(1)) reactor_.run_for(10ms);
  scripts_[1].outcome = {};
  while (down(1)) reactor_.run_for(10ms);
  EXPECT_EQ(load.order, Order::down) << "good checks do not take it back";
}

TEST_F(CheckerTest, AtTheStartRefusingIsDownAndSilenceIsUp) {
  have_servers(3);
  scripts_[1].outcome = kRefused;
  scripts_[2] = {kSilent, 1s};
  start();
  EXPECT_TRUE(down(1));
  EXPECT_FALSE(checked_once_);
  EXPECT_EQ(last_check(2), "none");
  reactor_.run_for(1001ms);
  EXPECT_TRUE(checked_once_);
  EXPECT_FALSE(down(2));
  reactor_.run_for(6s);
  EXPECT_TRUE(down(2)) << "after three";
  EXPECT_FALSE(down(0));
}

TEST_F(CheckerTest, AnOutageOfAllServersKeepsItsBoundAndItsOrder) {
  constexpr std::size_t kServers = 5'000;
  have_servers(kServers);
  for (std::size_t i = 0; i < kServers; ++i) scripts_[i] = {kSilent, 1s};
  start();
  EXPECT_EQ(under_way_, HealthChecker::kMostAtOnce);
  reactor_.run_for(30s);
  EXPECT_EQ(most_, HealthChecker::kMostAtOnce);
  std::size_t fewest = 100;
  std::size_t most = 0;
  for (std::size_t i = 0; i < kServers; ++i) {
    fewest = std::min(fewest, times_[i].size());
    most = std::max(most, times_[i].size());
    EXPECT_TRUE(down(i));
  }
  // 1,024 checks a second are about 6 for each in 30 s, and none is left behind.
  EXPECT_GE(fewest, 5U);
  EXPECT_LE(most, fewest + 1);
}

TEST_F(CheckerTest, ChecksThatEndAtOnceDoNotPileUpOnTheStack) {
  // A sanitizer's stack frames are larger, so fewer of them would fill the stack.
  const auto count = test::by_scale<std::size_t>(50'000, 200'000, 200'000);
  have_servers(count);
  for (std::size_t i = 0; i < HealthChecker::kMostAtOnce; ++i) scripts_[i].takes = 500ms;
  start();
  EXPECT_EQ(times_.size(), HealthChecker::kMostAtOnce);
  reactor_.run_for(1s);
  EXPECT_EQ(times_.size(), count);
  EXPECT_TRUE(checked_once_);
}

/// Its listeners do not listen before the first checks are over.
TEST_F(CheckerTest, AListenerOfThisProcessIsNotDownAtTheStart) {
  have_servers(2);
  own_listener_ = 1;
  scripts_[0].outcome = kRefused;
  scripts_[1].outcome = kRefused;
  start();
  EXPECT_TRUE(down(0));
  EXPECT_FALSE(down(1));
  reactor_.run_for(6s);
  EXPECT_TRUE(down(1));
}

TEST_F(CheckerTest, EachFailedCheckAsksForNewAddresses) {
  have_servers(3);
  scripts_[1].outcome = kRefused;
  scripts_[2].outcome = {CheckResult::undecided, "no descriptors"};
  start();
  reactor_.run_for(10s);
  EXPECT_EQ(failures_[1], static_cast<int>(times_[1].size()));
  EXPECT_FALSE(failures_.contains(0));
  EXPECT_FALSE(failures_.contains(2));
}

TEST_F(CheckerTest, ARouteWhoseServersAreSilentDelaysNoOther) {
  have_servers(5'000);
  for (std::size_t i = 0; i < 5'000; ++i) scripts_[i] = {kSilent, 1s};
  RouteConfig other;
  other.name = "other";
  other.health = Health::tcp;
  other.health_timeout = 1s;
  other.to.push_back({HostPort{"other", 1}});
  routes_.push_back(make_route(1, other));
  start();
  EXPECT_EQ(under_way_, HealthChecker::kMostAtOnce / 2 + 1);
  EXPECT_EQ(last_check(0, 1), "none");
  reactor_.run_for(1001ms);
  EXPECT_NE(last_check(0, 1), "none");
}

TEST_F(CheckerTest, NewAddressesAreCheckedFromTheNextCheckOn) {
  have_servers(1);
  start();
  Route changed = routes_[0];
  changed.servers = with_endpoints(*changed.servers, 0, {make_endpoint(UnixEndpoint{"/x"})});
  checker_->update(changed);
  scripts_[0].outcome = kRefused;
  reactor_.run_for(10s);
  EXPECT_TRUE(down(0)) << "the load is that of the server before";
}

/// The same with the servers of a name.
class NamedServersTest : public CheckerTest {
 protected:
  void SetUp() override {
    RouteConfig config;
    config.health = Health::tcp;
    config.to = {{DnsName{"name", 1}}};
    route_ = make_route(0, config);
  }
  /// The name has these servers from now on.
  void have(const std::vector<std::string>& hosts) {
    std::vector<NamedServer> named;
    for (const std::string& host : hosts) {
      const SocketAddress address = *numeric_address({host, 1});
      named.push_back({address.to_string(), address});
    }
    const std::span<const NamedServer> found = named;
    route_.servers = with_named_servers(*route_.servers, route_.config, {&found, 1}).set;
    if (checker_) checker_->update(route_);
  }
  void start() {
    routes_ = {route_};
    checker_.emplace(
        reactor_, routes_, changes_, balance::Random(7),
        HealthChecker::Hooks{[this](Reactor&, const Server& server, const RouteConfig&, TimePoint) {
                               return check_named(server.name);
                             },
                             [](const Server&) { return false; },
                             [](const Route&, const Server&) {}, [this] { ++starts_; }, [] {}});
    checker_->start();
  }
  Task<CheckOutcome> check_named(std::string name) {
    ++checks_[name];
    if (takes_ > 0ms) co_await reactor_.sleep_until(reactor_.now() + takes_);
    co_return outcomes_[name];
  }
  [[nodiscard]] const ServerLoad& load(std::size_t place) const {
    return *route_.servers->servers[place]->load;
  }

  Route route_;
  Duration takes_ = 0ms;
  int starts_ = 0;
  std::map<std::string, int> checks_;
  std::map<std::string, CheckOutcome> outcomes_;
};

constexpr const char* kA = "10.0.0.1:1";
constexpr const char* kB = "10.0.0.2:1";
constexpr const char* kC = "10.0.0.3:1";

TEST_F(NamedServersTest, ANewOneIsCheckedAtOnceAndOneThatIsGoneNoMore) {
  have({"10.0.0.1", "10.0.0.2"});
  start();
  reactor_.run_for(20s);
  const int of_a = checks_[kA];
  const int of_b = checks_[kB];
  EXPECT_NEAR(of_a, 11, 2);
  have({"10.0.0.2", "10.0.0.3"});
  EXPECT_EQ(checks_[kC], 1);
  EXPECT_EQ(checks_[kB], of_b) << "nothing changes for one that stays";
  EXPECT_EQ(checker_->last_checks(0).size(), 2U);
  reactor_.run_for(20s);
  EXPECT_EQ(checks_[kA], of_a);
  EXPECT_NEAR(checks_[kB] - of_b, 10, 2);
  EXPECT_NEAR(checks_[kC], 11, 2);
  EXPECT_EQ(starts_, 1);
}

TEST_F(NamedServersTest, AStartWithoutServersIsOverAtOnce) {
  start();
  EXPECT_EQ(starts_, 1);
  have({"10.0.0.1"});
  reactor_.run_for(5s);
  EXPECT_GE(checks_[kA], 2);
  EXPECT_EQ(starts_, 1);
}

TEST_F(NamedServersTest, OneThatGoesDuringItsCheckIsForgotten) {
  have({"10.0.0.1"});
  outcomes_[kA] = kRefused;
  takes_ = 500ms;
  start();
  const auto gone = route_.servers->servers[0];
  EXPECT_EQ(starts_, 0);
  have({});
  EXPECT_EQ(starts_, 1) << "the start no longer waits for it";
  reactor_.run_for(5s);
  EXPECT_FALSE(gone->load->down);
  EXPECT_EQ(checks_[kA], 1);
  routes_[0].servers = nullptr;
  EXPECT_EQ(gone.use_count(), 1) << "nothing else keeps it";
}

TEST_F(NamedServersTest, OneThatComesBackIsNew) {
  have({"10.0.0.1"});
  outcomes_[kA] = kRefused;
  start();
  EXPECT_TRUE(load(0).down);
  have({});
  outcomes_[kA] = {};
  have({"10.0.0.1"});
  EXPECT_FALSE(load(0).down);
  EXPECT_EQ(checks_[kA], 2);
}

/// More of them than can be checked at the same time.
TEST_F(NamedServersTest, ThoseThatWaitForAPlaceMayGo) {
  std::vector<std::string> hosts;
  for (std::size_t i = 0; i < 2 * HealthChecker::kMostAtOnce; ++i) {
    hosts.push_back("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256));
  }
  takes_ = 500ms;
  have(hosts);
  start();
  const std::weak_ptr<const Server> last = route_.servers->servers.back();
  have({"10.0.0.1"});
  EXPECT_EQ(starts_, 0);
  reactor_.run_for(5s);
  EXPECT_EQ(starts_, 1);
  EXPECT_GE(checks_[kA], 2);
  routes_[0].servers = nullptr;
  EXPECT_TRUE(last.expired());
}

}  // namespace
}  // namespace sluice
