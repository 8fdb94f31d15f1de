// The servers of a route change again and again while clients connect.

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/balance/random.h"
#include "proxy/health/health_thread.h"
#include "proxy/listen/listen_sockets.h"
#include "proxy/run/worker_thread.h"
#include "proxy/serve/shared.h"
#include "tests/support/settings.h"
#include "tests/support/sockets.h"
#include "tests/support/wait.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kServers = 8;
constexpr std::size_t kWorkers = 2;

/// Servers that send one byte to each connection, and end it once the client does.
class Servers {
 public:
  Servers() {
    for (std::size_t i = 0; i < kServers; ++i) listeners_.push_back(test::listen_tcp());
    thread_ = std::thread([this] { serve(); });
  }
  ~Servers() {
    stopping_ = true;
    thread_.join();
  }
  [[nodiscard]] NamedServer named(std::size_t i) const {
    const SocketAddress address = *numeric_address({"127.0.0.1", listeners_[i].port});
    return {address.to_string(), address};
  }
  [[nodiscard]] int accepted(std::size_t i) const { return accepted_[i]; }

 private:
  void serve() {
    std::vector<pollfd> waiting;
    for (const test::Listener& each : listeners_) waiting.push_back({each.fd.get(), POLLIN, 0});
    std::vector<OwnedFd> accepted;
    while (!stopping_) {
      ::poll(waiting.data(), waiting.size(), 10);
      for (std::size_t i = 0; i < waiting.size(); ++i) {
        if (waiting[i].revents == 0) continue;
        if (i < kServers) {
          accepted.push_back(test::accept_from(waiting[i].fd));
          ++accepted_[i];
          waiting.push_back({accepted.back().get(), POLLIN, 0});
          EXPECT_TRUE(test::send_all(accepted.back().get(), "x"));
          break;  // the list has moved
        }
        const auto ended = static_cast<std::ptrdiff_t>(i);
        accepted.erase(accepted.begin() + (ended - static_cast<std::ptrdiff_t>(kServers)));
        waiting.erase(waiting.begin() + ended);
        break;
      }
    }
  }

  std::vector<test::Listener> listeners_;
  std::array<std::atomic<int>, kServers> accepted_{};
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

class SwapTest : public testing::TestWithParam<Balance> {
 protected:
  void start() {
    RouteConfig route;
    route.name = "swapped";
    route.listen = {HostPort{"127.0.0.1", 0}};
    route.to = {{DnsName{"servers", 1}}};
    route.balance = GetParam();
    route.health = Health::tcp;
    route.health_interval = 10ms;
    config_.routes.push_back(route);
    routes_.push_back(make_route(0, config_.routes[0], kWorkers));
    health_ = std::make_unique<HealthThread>(
        server_changes_, HealthChecker::Hooks{.listens_here = [](const Server&) { return false; },
                                              .failed = [](const Route&, const Server&) {},
                                              .end_sessions = [] {}});
    ASSERT_TRUE(health_->start(routes_).has_value());
    current_ = routes_[0];
    shared_.on_upstream_failed = [this](std::size_t, std::size_t) { ++failures_; };
    shared_.on_drained = [this] { drained_ = true; };
    InheritedSockets none;
    auto listeners = open_listeners(config_, kWorkers, none);
    ASSERT_TRUE(listeners.has_value());
    for (std::size_t i = 0; i < kWorkers; ++i) {
      WorkerOptions options;
      options.index = i;
      options.uring = false;
      options.routes = {current_};
      workers_.push_back(std::make_unique<WorkerThread>(shared_, std::move(options)));
      ASSERT_TRUE(workers_.back()->start().has_value());
      ASSERT_TRUE(workers_.back()->set_up().has_value());
      shared_.workers.push_back(&workers_.back()->worker());
      shared_.placement.add(workers_.back()->worker().relay_context());
    }
    ASSERT_TRUE(listeners->listen({}).has_value());
    port_ = test::local_port(listeners->sockets.front().fd.get());
    std::vector<std::vector<ListenSocket>> of_workers(kWorkers);
    for (ListenSocket& socket : listeners->sockets) {
      of_workers[socket.worker].push_back(std::move(socket));
    }
    for (std::size_t i = 0; i < kWorkers; ++i) workers_[i]->accept_from(std::move(of_workers[i]));
  }
  void TearDown() override {
    for (const auto& worker : workers_) worker->drain();
    EXPECT_TRUE(test::wait_until([this] { return drained_.load(); }));
    for (const auto& worker : workers_) worker->join();
  }

  /// The route has these of the servers from now on.
  void swap(const std::vector<std::size_t>& servers) {
    std::vector<NamedServer> named;
    for (const std::size_t server : servers) named.push_back(servers_.named(server));
    const std::span<const NamedServer> found = named;
    current_.servers = with_named_servers(*current_.servers, current_.config, {&found, 1}).set;
    for (const ServerRef& server : current_.servers->servers) seen_.push_back(server->load);
    for (const auto& worker : workers_) worker->update_route(current_);
    health_->update(current_);
  }
  /// A random half of them.
  void swap_half(balance::Random& random) {
    std::vector<std::size_t> servers;
    for (std::size_t i = 0; i < kServers; ++i) {
      if (random.below(2) == 0 || i == kServers - 1) servers.push_back(i);
      if (servers.size() == kServers / 2) break;
    }
    swap(servers);
  }
  /// How many servers still exist, of all that there were.
  [[nodiscard]] std::size_t left() const {
    std::set<const ServerLoad*> loads;
    for (const auto& each : seen_) {
      if (const auto load = each.lock()) loads.insert(load.get());
    }
    return loads.size();
  }
  [[nodiscard]] bool is_served() const {
    const OwnedFd client = test::connect_tcp(port_);
    return test::receive_text(client.get(), 1) == "x";
  }

  Config config_;
  std::vector<Route> routes_;
  Route current_;
  Servers servers_;
  ServerChanges server_changes_;
  std::unique_ptr<HealthThread> health_;
  PipePool pool_{{}};
  Shared shared_{pool_, server_changes_, 10'000, false};
  std::vector<std::unique_ptr<WorkerThread>> workers_;
  std::vector<std::weak_ptr<const ServerLoad>> seen_;
  std::uint16_t port_ = 0;
  std::atomic<int> failures_ = 0;
  std::atomic<bool> drained_ = false;
};

TEST_P(SwapTest, NoConnectionFailsAndNothingIsKept) {
  start();
  swap({0, 1});
  // It outlives its server.
  const OwnedFd early = test::connect_tcp(port_);
  ASSERT_EQ(test::receive_text(early.get(), 1), "x");
  std::atomic<bool> over = false;
  std::atomic<int> served = 0;
  std::atomic<int> failed = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      // Bounded: each connection leaves a port in TIME_WAIT, and there are 28,000.
      while (!over && served < 15'000) ++(is_served() ? served : failed);
    });
  }
  balance::Random random(test::seed());
  int swaps = 0;
  const auto end = std::chrono::steady_clock::now() + test::by_scale(1s, 2s, 60s);
  const int least = test::by_scale(30, 100, 100);
  while (std::chrono::steady_clock::now() < end || swaps < least) {
    swap_half(random);
    ++swaps;
    std::this_thread::sleep_for(2ms);
  }
  over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(failures_, 0) << "no connect failed either";
  EXPECT_GT(served, 100);
  std::printf("%d swaps, %d connections\n", swaps, served.load());
  // What is gone goes, except for the server of a session.
  swap({2});
  EXPECT_TRUE(test::wait_until([&] { return is_served() && left() == 2; })) << left();
  test::finish_sending(early.get());
  EXPECT_EQ(test::receive_text(early.get(), 1), "");
  EXPECT_TRUE(test::wait_until([&] { return is_served() && left() == 1; })) << left();
}

TEST_P(SwapTest, AnOrderHoldsWhateverOtherServersComeAndGo) {
  start();
  swap({0, 1});
  current_.servers->servers[0]->load->order = Order::drain;
  for (std::size_t i = 2; i < kServers; ++i) {
    swap({0, i});
    EXPECT_EQ(current_.servers->servers[0]->load->order, Order::drain);
    for (int client = 0; client < 10; ++client) EXPECT_TRUE(is_served());
  }
  EXPECT_EQ(servers_.accepted(0), 0);
  swap({0});
  EXPECT_TRUE(test::wait_until([this] { return !is_served(); }))
      << "an order holds even if no other server is left";
  current_.servers->servers[0]->load->order = Order::up;
  EXPECT_TRUE(is_served());
  EXPECT_EQ(servers_.accepted(0), 1);
  EXPECT_EQ(failures_, 0) << "no connect failed";
}

INSTANTIATE_TEST_SUITE_P(Every, SwapTest,
                         testing::Values(Balance::two_choices, Balance::round_robin,
                                         Balance::least_connections, Balance::source_hash));

}  // namespace
}  // namespace sluice
