// Servers that an operator takes out and back at the admin API.

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "iolib/base/readiness.h"
#include "iolib/json/json.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"
#include "tests/system/servers.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

/// Accepts at sockets of a test, sends each connection a byte, and ends it when its peer does.
class Greeters {
 public:
  explicit Greeters(const std::vector<Listener>& listeners) : accepted_(listeners.size()) {
    for (const Listener& each : listeners) waiting_.push_back({each.fd.get(), POLLIN, 0});
    thread_ = std::thread([this] { serve(); });
  }
  ~Greeters() {
    stopping_ = true;
    thread_.join();
  }
  Greeters(const Greeters&) = delete;
  Greeters& operator=(const Greeters&) = delete;

  [[nodiscard]] int accepted(std::size_t server) const { return accepted_[server]; }

 private:
  void serve() {
    while (!stopping_) {
      ::poll(waiting_.data(), waiting_.size(), 10);
      for (std::size_t i = waiting_.size(); i-- > 0;) {
        if (waiting_[i].revents == 0) continue;
        i < accepted_.size() ? greet(i) : end(i);
      }
    }
  }
  void greet(std::size_t server) {
    open_.push_back(accept_from(waiting_[server].fd));
    waiting_.push_back({open_.back().get(), POLLIN, 0});
    ++accepted_[server];
    EXPECT_TRUE(send_all(open_.back().get(), "x"));
  }
  void end(std::size_t place) {
    const auto index = static_cast<std::ptrdiff_t>(place);
    open_.erase(open_.begin() + index - static_cast<std::ptrdiff_t>(accepted_.size()));
    waiting_.erase(waiting_.begin() + index);
  }

  std::vector<std::atomic<int>> accepted_;
  std::vector<pollfd> waiting_;  // the listeners, then `open_`
  std::vector<OwnedFd> open_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

/// Clients that connect, 200 in a second if the machine allows it, and wait for a byte.
class Clients {
 public:
  explicit Clients(std::uint16_t port) {
    for (std::thread& thread : threads_) {
      thread = std::thread([this, port] {
        while (!stopping_) {
          const OwnedFd client = connect_tcp(port);
          ++(receive_text(client.get(), 1) == "x" ? served_ : failed_);
          std::this_thread::sleep_for(20ms);
        }
      });
    }
  }
  ~Clients() { stop(); }
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;
  void stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

  /// Waits until this many more are served.
  [[nodiscard]] bool serve(int count) const {
    return wait_until([this, until = served_ + count] { return served_ >= until; }, kLate);
  }
  [[nodiscard]] int failed() const { return failed_; }

 private:
  std::atomic<bool> stopping_ = false;
  std::atomic<int> served_ = 0;
  std::atomic<int> failed_ = 0;
  std::array<std::thread, 4> threads_;
};

class AdminOrderTest : public ServersTest {
 protected:
  static constexpr const char* kChecked =
      "health = \"tcp\"\nhealth-interval = \"20ms\"\nhealth-timeout = \"10s\"\n";

  void start_with(const std::string& more, const std::string& workers = "1") {
    start_with_file(addresses(), more, {"--admin", "unix:" + admin_, "--workers", workers});
  }
  [[nodiscard]] HttpAnswer ask(const std::string& request) const {
    return exchange(connect_unix(admin_).get(), request);
  }
  /// Gives the order, and returns the states in the answer: "STATE ORDERED".
  [[nodiscard]] std::string order(std::size_t server, const std::string& state) const {
    const HttpAnswer answer = ask(change_request("POST", "/v1/servers/a/" + address(server),
                                                 "{\"state\":\"" + state + "\"}"));
    if (answer.status != 200) return answer.header + answer.body;
    const json::value states = json::parse(answer.body);
    return std::string(states.at("state").as_string()) + " " +
           std::string(states.at("ordered").as_string());
  }

  const std::string admin_ = folder_.file("admin.sock");
};

TEST_P(AdminOrderTest, ADrainedServerGetsNothingNewAndNoClientFails) {
  add_servers(3);
  start_with("balance = \"round-robin\"\n", "2");
  const Served before = serve_one();
  Greeters greeters(servers_);
  Clients clients(daemon_->port());
  ASSERT_TRUE(clients.serve(50));
  EXPECT_EQ(order(before.server, "drain"), "drain drain");
  ASSERT_TRUE(clients.serve(20)) << "those that connected before are accepted by now";
  const int accepted = greeters.accepted(before.server);
  ASSERT_TRUE(clients.serve(200));
  EXPECT_EQ(greeters.accepted(before.server), accepted);
  ASSERT_TRUE(send_all(before.client.get(), std::string_view("y")));
  EXPECT_EQ(receive_text(before.accepted.get(), 1), "y") << "the connection that it had goes on";
  EXPECT_EQ(summary_of(before.server).at("state"), "drain");
  EXPECT_EQ(summary_of(before.server).at("ordered"), "drain");

  EXPECT_EQ(order(before.server, "up"), "up up");
  EXPECT_TRUE(wait_until([&] { return greeters.accepted(before.server) >= accepted + 20; }, kLate));
  EXPECT_FALSE(summary_of(before.server).contains("ordered"));
  clients.stop();
  EXPECT_EQ(clients.failed(), 0);
  const std::string line = "operator change=server route=a server=" + address(before.server);
  EXPECT_EQ(count_lines(daemon_->log(), Regex(line + " from=up to=drain")), 1U);
  EXPECT_EQ(count_lines(daemon_->log(), Regex(line + " from=drain to=up")), 1U);
}

/// Orders come and go while clients connect; one server of two is always up.
TEST_P(AdminOrderTest, NoClientFailsWhileServersTakeTurns) {
  add_servers(2);
  start_with("retries = 0\n", "2");
  Greeters greeters(servers_);
  Clients clients(daemon_->port());
  for (std::size_t turn = 0; turn < 20; ++turn) {
    const std::size_t out = turn % 2;
    EXPECT_EQ(order(1 - out, "up"), "up up");
    const std::string state = turn % 4 < 2 ? "drain" : "down";
    EXPECT_EQ(order(out, state), state + " " + state);
    ASSERT_TRUE(clients.serve(10));
  }
  clients.stop();
  EXPECT_EQ(clients.failed(), 0);
}

TEST_P(AdminOrderTest, AServerThatIsTakenDownLosesItsConnectionsIfTheRouteSaysSo) {
  constexpr int kSessions = 40;
  add_servers(2);
  start_with(std::string(kChecked) + "on-down = \"reset\"\nbalance = \"round-robin\"\n");
  std::vector<Served> open;
  for (int i = 0; i < kSessions; ++i) open.push_back(serve_one());
  EXPECT_EQ(order(0, "down"), "down down");
  for (const Served& each : open) {
    if (each.server == 0) {
      EXPECT_EQ(ending_of(each.client.get()), Ending::reset);
      EXPECT_EQ(ending_of(each.accepted.get()), Ending::reset);
    } else {
      ASSERT_TRUE(send_all(each.client.get(), std::string_view("x")));
      EXPECT_EQ(receive_text(each.accepted.get(), 1), "x");
    }
  }
  const auto ends = daemon_->wait_for_ends(kSessions / 2);
  EXPECT_EQ(count_lines(daemon_->log(), Regex(" reason=server_down server=" + address(0))),
            kSessions / 2);
  // Its checks go on, and pass.
  EXPECT_TRUE(wait_until([this] { return summary_of(0).at("check") == "passed"; }));
  EXPECT_EQ(served(10)[1], 10);
  EXPECT_EQ(summary_of(0).at("state"), "down");
  EXPECT_EQ(summary_of(0).at("ordered"), "down");
  EXPECT_EQ(order(0, "up"), "up up");
  EXPECT_GE(served(10)[0], 5);
}

TEST_P(AdminOrderTest, AServerThatIsTakenDownKeepsItsConnectionsOtherwise) {
  add_servers(2);
  start_with("balance = \"round-robin\"\n");
  const Served open = serve_one();
  EXPECT_EQ(order(open.server, "down"), "down down");
  EXPECT_EQ(served(10)[1 - open.server], 10);
  ASSERT_TRUE(send_all(open.client.get(), std::string_view("x")));
  EXPECT_EQ(receive_text(open.accepted.get(), 1), "x");
}

TEST_P(AdminOrderTest, AnOrderHoldsEvenIfNoServerIsLeft) {
  add_servers(2);
  start_with(kChecked);
  EXPECT_EQ(order(0, "drain"), "drain drain");
  EXPECT_EQ(order(1, "down"), "down down");
  EXPECT_EQ(ending_of_client(), Ending::reset);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("upstream=.* reason=no_server")));
  for (const Listener& server : servers_) EXPECT_EQ(ready_events(server.fd.get(), POLLIN), 0);
  EXPECT_EQ(order(1, "up"), "up up");
  EXPECT_EQ(serve_one().server, 1U);
}

TEST_P(AdminOrderTest, NeitherRetriesNorHedgesGoToADrainedServer) {
  add_full_server();
  add_servers(1);
  add_refusing_server();
  start_with("hedge-after = \"1ms\"\nretries = 2\nconnect-timeout = \"1m\"\n");
  EXPECT_EQ(order(1, "drain"), "drain drain");
  EXPECT_EQ(order(2, "drain"), "drain drain");
  const OwnedFd client = connect_tcp(daemon_->port());
  EXPECT_TRUE(wait_until([this] { return summary_of(0).at("active") == "1"; }));
  EXPECT_EQ(order(0, "drain"), "drain drain");
  EXPECT_EQ(order(2, "up"), "up up");
  // The hedge came too late for server 2, so the client waits for server 0.
  make_room(0);
  const Served served = accept_next(OwnedFd());
  EXPECT_EQ(served.server, 0U) << "a connect that has begun goes on";
  EXPECT_EQ(ready_events(servers_[1].fd.get(), POLLIN), 0);

  EXPECT_EQ(ending_of_client(), Ending::reset) << "server 2 refuses";
  EXPECT_TRUE(daemon_->wait_for_log(Regex("reason=connect_refused")));
  EXPECT_EQ(ready_events(servers_[1].fd.get(), POLLIN), 0) << "retries do not come either";
}

TEST_P(AdminOrderTest, OneServerCanBeTakenOutToo) {
  add_servers(1);
  start_with("");
  EXPECT_EQ(order(0, "drain"), "drain drain");
  EXPECT_EQ(ending_of_client(), Ending::reset);
  EXPECT_EQ(summary_of(0).at("state"), "drain");
  EXPECT_EQ(order(0, "up"), "up up");
  EXPECT_TRUE(serve_one().accepted);
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, AdminOrderTest, testing::Values("uring", "epoll"),
                         [](const auto& engine) { return engine.param; });

}  // namespace
}  // namespace sluice::test
