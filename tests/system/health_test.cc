// Checks of the servers, and what follows from them.

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/readiness.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"
#include "tests/system/servers.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

class HealthTest : public ServersTest {
 protected:
  static constexpr const char* kOften =
      "health = \"tcp\"\nhealth-interval = \"20ms\"\nhealth-timeout = \"100ms\"\n";
  [[nodiscard]] bool is_logged(const std::string& event, std::size_t server) {
    return daemon_->wait_for_log(Regex(event + " route=a server=" + address(server)));
  }
};

/// With one connect for each client, none may go to a server that is down.
TEST_P(HealthTest, AServerThatIsDownAtTheStartGetsNoConnection) {
  add_servers(1);
  add_refusing_server();
  start_with_file(addresses(), std::string(kOften) + "retries = 0\nbalance = \"round-robin\"\n");
  EXPECT_EQ(served(20)[0], 20);
  EXPECT_EQ(summary_of(0).at("state"), "up");
  EXPECT_EQ(summary_of(0).at("check"), "passed");
  EXPECT_EQ(summary_of(1).at("state"), "down");
  EXPECT_EQ(summary_of(1).at("check"), "connect " + address(1) + ": Connection refused");
  EXPECT_LT(std::stod(summary_of(1).at("check_age")), 60);
  EXPECT_EQ(summary_of(1).at("failures"), "0") << "checks are not connects";
  start_server(1);
  EXPECT_TRUE(is_logged("server_up", 1));
  EXPECT_EQ(served(20)[1], 10);
  EXPECT_EQ(count_lines(daemon_->log(), Regex("server_down")), 1U) << "one line for each change";
  EXPECT_EQ(count_lines(daemon_->log(), Regex("server_up")), 1U);
}

TEST_P(HealthTest, TheServersNeverSeeAHalfOpenCheck) {
  add_servers(2);
  start_with_file(addresses(), kOften);
  std::this_thread::sleep_for(500ms);  // about 25 checks of each
  EXPECT_LT(std::stod(summary_of(0).at("check_age")), 0.4);
  for (const Listener& server : servers_) EXPECT_EQ(ready_events(server.fd.get(), POLLIN), 0);
  EXPECT_TRUE(serve_one().accepted);
}

TEST_P(HealthTest, BackupsTakeOverWhileTheOthersAreDown) {
  add_refusing_server();
  add_servers(1);
  start_with_file("[\"" + address(0) + "\", { address = \"" + address(1) + "\", backup = true }]",
                  std::string(kOften) + "retries = 0\n");
  EXPECT_EQ(served(10)[1], 10);
  start_server(0);
  ASSERT_TRUE(is_logged("server_up", 0));
  EXPECT_EQ(served(10)[0], 10);
  stop_listening(0);
  EXPECT_TRUE(wait_until([this] { return summary_of(0).at("state") == "down"; }));
  EXPECT_EQ(served(10)[1], 10);
}

/// Checks can be wrong, so the clients decide.
TEST_P(HealthTest, WithAllDownClientsAreServedAsIfAllWereUp) {
  add_servers(2);
  start_with_file(addresses(),
                  "health = \"exchange\"\nhealth-send = \"PING\\r\\n\"\n"
                  "health-expect = \"+PONG\"\nhealth-interval = \"20ms\"\n"
                  "health-timeout = \"20ms\"\nhealth-fall = 1\non-down = \"reset\"\n");
  ASSERT_TRUE(is_logged("server_down", 0));
  ASSERT_TRUE(is_logged("server_down", 1));
  // The checks connect, too, so that the clients are told by what they send.
  const OwnedFd client = connect_tcp(daemon_->port());
  ASSERT_TRUE(send_all(client.get(), std::string_view("client")));
  bool served = false;
  for (int i = 0; i < 1'000 && !served; ++i) {
    const Served next = accept_next(OwnedFd());
    std::string text = receive_text(next.accepted.get(), 6);
    if (text != "client") continue;
    served = send_all(next.accepted.get(), std::string_view("answer"));
    EXPECT_EQ(receive_text(client.get(), 6), "answer");
  }
  EXPECT_TRUE(served);
}

/// Of the sessions that it had, and not of those that others have.
TEST_P(HealthTest, OnDownResetEndsTheSessionsOfThatServer) {
  constexpr int kSessions = 2'500;  // of one server, more than end in one turn
  add_servers(2);
  start_with_file(addresses(),
                  std::string(kOften) + "on-down = \"reset\"\nbalance = \"round-robin\"\n");
  std::vector<Served> open;
  for (int i = 0; i < kSessions; ++i) open.push_back(serve_one());
  stop_listening(0);
  ASSERT_TRUE(is_logged("server_down", 0));
  int ended = 0;
  for (const Served& each : open) {
    if (each.server == 0) {
      ++ended;
      EXPECT_EQ(ending_of(each.client.get()), Ending::reset);
      EXPECT_EQ(ending_of(each.accepted.get()), Ending::reset);
    } else {
      ASSERT_TRUE(send_all(each.client.get(), std::string_view("x")));
      EXPECT_EQ(receive_text(each.accepted.get(), 1), "x");
    }
  }
  EXPECT_EQ(ended, kSessions / 2);
  const auto ends = daemon_->wait_for_ends(static_cast<std::size_t>(ended));
  EXPECT_EQ(count_lines(daemon_->log(), Regex(" reason=server_down server=" + address(0))),
            static_cast<std::size_t>(ended));
  EXPECT_EQ(counters_of(*daemon_).at("stopped"), std::to_string(ended));
}

/// A session whose connect began before the server went down, and succeeds afterwards.
TEST_P(HealthTest, OnDownResetEndsASessionThatWasConnecting) {
  servers_.push_back(listen_tcp(0));
  const OwnedFd filler = connect_tcp(servers_[0].port);
  start_with_file(addresses(),
                  "health = \"exchange\"\nhealth-send = \"\"\nhealth-expect = \"x\"\n"
                  "health-interval = \"500ms\"\nhealth-timeout = \"500ms\"\n"
                  "health-fall = 2\non-down = \"reset\"\nconnect-timeout = \"1m\"\n");
  const OwnedFd client = connect_tcp(daemon_->port());
  ASSERT_TRUE(is_logged("server_down", 0));
  // The kernel sends its SYN again, and now there is room.
  OwnedFd accepted = accept_from(servers_[0].fd.get());
  while (!readable_within(client.get(), 10ms)) {
    if (readable_within(servers_[0].fd.get(), 10ms)) accepted = accept_from(servers_[0].fd.get());
  }
  EXPECT_EQ(ending_of(client.get()), Ending::reset);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("reason=server_down")));
}

TEST_P(HealthTest, AServerThatResetsAnExchangeIsDown) {
  add_servers(2);
  std::jthread resets([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      if (readable_within(servers_[0].fd.get(), 10ms)) reset(accept_from(servers_[0].fd.get()));
    }
  });
  std::jthread answers([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      if (!readable_within(servers_[1].fd.get(), 10ms)) continue;
      const OwnedFd accepted = accept_from(servers_[1].fd.get());
      static_cast<void>(send_all(accepted.get(), std::string_view("x")));
      finish_sending(accepted.get());
      static_cast<void>(receive_text(accepted.get(), 1));
    }
  });
  start_with_file(addresses(),
                  "health = \"exchange\"\nhealth-send = \"\"\nhealth-expect = \"x\"\n"
                  "health-interval = \"50ms\"\n");
  ASSERT_TRUE(is_logged("server_down", 0));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(receive_text(connect_tcp(daemon_->port()).get(), 1), "x");
  }
  EXPECT_EQ(summary_of(1).at("state"), "up");
}

TEST_P(HealthTest, WithoutItTheyGoOn) {
  add_servers(2);
  start_with_file(addresses(), std::string(kOften) + "balance = \"round-robin\"\n");
  std::vector<Served> open;
  for (int i = 0; i < 10; ++i) open.push_back(serve_one());
  stop_listening(0);
  ASSERT_TRUE(is_logged("server_down", 0));
  EXPECT_EQ(served(10)[1], 10);
  for (const Served& each : open) {
    ASSERT_TRUE(send_all(each.client.get(), std::string_view("x")));
    EXPECT_EQ(receive_text(each.accepted.get(), 1), "x");
  }
}

/// Its kernel still accepts connections, so only an exchange finds out.
TEST_P(HealthTest, AServerThatIsStoppedIsTakenOutByItsAnswers) {
  constexpr std::size_t kServers = 5;
  std::vector<std::unique_ptr<Daemon>> targets;
  std::string to = "[";
  for (std::size_t i = 0; i < kServers; ++i) {
    targets.push_back(std::make_unique<Daemon>(
        std::vector<std::string>{"--listen", "127.0.0.1:0", "--to", "echo:"}));
    to += (i == 0 ? "\"" : ", \"") + loopback_address(targets.back()->port()) + "\"";
  }
  start_with_file(to + "]",
                  "health = \"exchange\"\nhealth-send = \"ping\"\nhealth-expect = "
                  "\"ping\"\nhealth-interval = \"100ms\"\nhealth-timeout = \"100ms\"\n");
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(echoes(connect_tcp(daemon_->port()).get()));
  const std::string stopped = loopback_address(targets[3]->port());
  targets[3]->process().signal(SIGSTOP);
  EXPECT_TRUE(daemon_->wait_for_log(
      Regex("server_down .*server=" + stopped + " reason=\"no answer in time\"")));
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(echoes(connect_tcp(daemon_->port()).get()));
  targets[3]->process().signal(SIGCONT);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("server_up .*server=" + stopped)));
  EXPECT_EQ(counters_of(*daemon_).at("connect_failures"), "0");
}

/// A full backlog drops the handshake, as a broken network does.
TEST_P(HealthTest, AServerWhosePacketsAreDroppedCostsNoConnection) {
  servers_.push_back(listen_tcp(0));
  stopped_.insert(0);
  add_servers(1);
  start_with_file(addresses(),
                  "health = \"tcp\"\nhealth-interval = \"50ms\"\n"
                  "health-timeout = \"50ms\"\nbalance = \"round-robin\"\n");
  const OwnedFd filler = connect_tcp(servers_[0].port);
  ASSERT_TRUE(is_logged("server_down", 0));
  const TimePoint before = Clock::now();
  EXPECT_EQ(served(50)[1], 50);
  EXPECT_LT(Clock::now() - before, kLate);
  EXPECT_EQ(summary_of(0).at("failures"), "0") << "no client waited for it";
  EXPECT_EQ(counters_of(*daemon_).at("connect_failures"), "0");
}

TEST_P(HealthTest, ManyChangesAtOnceAreCountedAndNotAllLogged) {
  constexpr std::size_t kServers = 2'000;
  const Listener port = bind_tcp();
  std::string to = "[";
  for (std::size_t i = 0; i < kServers; ++i) {
    to += "\"127.1." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + ":" +
          std::to_string(port.port) + "\",\n";
  }
  start_with_file(to + "]", "health = \"tcp\"\n");
  EXPECT_EQ(ending_of_client(), Ending::reset);
  // A busy machine has not checked all when the daemon accepts.
  const auto down = [this] {
    return count_lines(daemon_->log(), Regex(" server route=a .*state=down "));
  };
  EXPECT_TRUE(wait_until([&] {
    const std::size_t before = down();
    static_cast<void>(counters_of(*daemon_));
    return down() - before == kServers;
  }));
  EXPECT_EQ(daemon_->terminate(), 0);
  const std::size_t logged = count_lines(daemon_->log(), Regex("server_down"));
  EXPECT_GE(logged, 100U);
  EXPECT_LE(logged, 400U) << "100, and 10 a second";
  std::size_t unlogged = 0;
  for (const std::string& line : lines_of(daemon_->log())) {
    if (line.find("server_changes_unlogged") == line.npos) continue;
    unlogged += std::stoul(parse_text_line(line).at("times"));
  }
  EXPECT_EQ(logged + unlogged, kServers);
  daemon_.reset();
}

/// The connections that a check makes are none of the clients'.
TEST_P(HealthTest, OneServerIsCheckedToo) {
  add_refusing_server();
  start_with_file(addresses(), kOften);
  ASSERT_TRUE(is_logged("server_down", 0));
  EXPECT_EQ(ending_of_client(), Ending::reset);
  start_server(0);
  EXPECT_TRUE(serve_one().accepted);
  ASSERT_TRUE(is_logged("server_up", 0));
  EXPECT_EQ(counters_of(*daemon_).at("accepted"), "2");
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, HealthTest, testing::Values("uring", "epoll"));

}  // namespace
}  // namespace sluice::test
