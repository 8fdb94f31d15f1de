// Several servers behind one address.

#include "tests/system/servers.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "tests/support/daemon.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

/// Connects from this address of loopback.
void connect_from(int client, const std::string& host, std::uint16_t port) {
  sockaddr_in own{};
  own.sin_family = AF_INET;
  ASSERT_EQ(::inet_pton(AF_INET, host.c_str(), &own.sin_addr), 1);
  ASSERT_EQ(::bind(client, reinterpret_cast<const sockaddr*>(&own), sizeof own), 0);
  sockaddr_in daemon{};
  daemon.sin_family = AF_INET;
  daemon.sin_port = htons(port);
  daemon.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(client, reinterpret_cast<const sockaddr*>(&daemon), sizeof daemon), 0);
}

TEST_P(ServersTest, RoundRobinGivesEachItsWeight) {
  add_servers(3);
  start_with_file("[\"" + address(0) + "\", { address = \"" + address(1) +
                      "\", weight = 2 }, { address = \"" + address(2) + "\", weight = 0 }]",
                  "balance = \"round-robin\"\n");
  const auto counts = served(30);
  EXPECT_NEAR(counts.at(0), 10, 1);
  EXPECT_NEAR(counts.at(1), 20, 1);
  EXPECT_FALSE(counts.contains(2));
}

TEST_P(ServersTest, TheLessLoadedServerIsPicked) {
  for (const char* balance : {"two-choices", "least-connections"}) {
    servers_.clear();
    add_servers(4);
    start({"--balance", balance, "--workers", "2"});
    std::vector<Served> open;
    for (int i = 0; i < 80; ++i) open.push_back(serve_one());
    const auto of_first = static_cast<std::size_t>(std::ranges::count(open, 0U, &Served::server));
    // Of two random servers the less loaded one may be the second most loaded of all.
    const bool exact = std::string(balance) == "least-connections";
    EXPECT_GE(of_first, exact ? 20U : 15U) << balance;
    EXPECT_LE(of_first, exact ? 20U : 25U) << balance;
    // All of the first server's end. The next ones are its own.
    std::erase_if(open, [](const Served& each) { return each.server == 0; });
    ASSERT_EQ(daemon_->wait_for_ends(of_first).size(), of_first);
    EXPECT_GE(served(20)[0], exact ? 20 : 1) << balance;
    open.clear();
    EXPECT_EQ(daemon_->terminate(), 0);
    daemon_.reset();
  }
}

TEST_P(ServersTest, AClientComesToTheSameServerAgain) {
  add_servers(5);
  const auto server_of = [this](const std::string& host) {
    const OwnedFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    connect_from(client.get(), host, daemon_->port());
    return accept_next(OwnedFd()).server;
  };
  std::map<std::string, std::size_t> first;
  start({"--balance", "source-hash"});
  for (int i = 1; i <= 40; ++i) {
    const std::string host = "127.0.0." + std::to_string(i);
    first[host] = server_of(host);
    EXPECT_EQ(server_of(host), first[host]) << host;
  }
  std::map<std::size_t, int> counts;
  for (const auto& [host, server] : first) ++counts[server];
  EXPECT_EQ(counts.size(), 5U) << "all servers have clients";
  // Neither a restart nor the order matters.
  EXPECT_EQ(daemon_->terminate(), 0);
  std::ranges::reverse(servers_);
  start({"--balance", "source-hash"});
  for (const auto& [host, server] : first) EXPECT_EQ(server_of(host), 4 - server) << host;
  // If a server goes, only its own clients move.
  stop_listening(2);
  for (const auto& [host, server] : first) {
    if (server == 2) {
      const std::size_t moved = server_of(host);
      EXPECT_NE(moved, 2U) << host;
      EXPECT_EQ(server_of(host), moved) << host << " stays where it moved";
    } else {
      EXPECT_EQ(server_of(host), 4 - server) << host;
    }
  }
}

TEST_P(ServersTest, AServerThatRefusesCostsNoConnection) {
  add_servers(1);
  add_refusing_server();
  add_servers(1);
  start({"--balance", "round-robin", "--workers", "1"});
  const auto counts = served(20);
  EXPECT_EQ(counts.at(0) + counts.at(2), 20);
  ASSERT_EQ(daemon_->wait_for_ends(20).size(), 20U);
  for (const std::string& line : lines_of(daemon_->log())) {
    if (line.find(" connection id=") == line.npos) continue;
    const LogFields fields = parse_text_line(line);
    EXPECT_TRUE(fields.at("server") == address(0) || fields.at("server") == address(2)) << line;
    EXPECT_TRUE(fields.at("attempts") == "1" || fields.at("attempts") == "2") << line;
    EXPECT_EQ(fields.at("upstream"), fields.at("server")) << line;
  }
  EXPECT_EQ(summary_of(1).at("failures"), "5") << "then it is ejected";
  EXPECT_LE(count_lines(daemon_->log(), Regex("upstream_failed")), 5U) << "never one a connection";
}

/// A server that is down is ejected, so that it does not use up the budget of retries.
TEST_P(ServersTest, AServerThatIsDownCostsNoConnectionHoweverManyThereAre) {
  for (const char* balance : {"two-choices", "least-connections", "round-robin", "source-hash"}) {
    servers_.clear();
    stopped_.clear();
    add_servers(1);
    add_refusing_server();
    start({"--balance", balance, "--workers", "2"});
    EXPECT_EQ(served(400)[0], 400) << balance;
    EXPECT_EQ(counters_of(*daemon_).at("connect_failures"), "0") << balance;
    if (std::string(balance) != "source-hash") {
      EXPECT_EQ(summary_of(1).at("failures"), "5") << balance;
      EXPECT_EQ(summary_of(1).at("state"), "ejected") << balance;
      EXPECT_TRUE(
          daemon_->wait_for_log(Regex("server_ejected route=default server=" + address(1))));
    }
    EXPECT_EQ(daemon_->terminate(), 0);
    daemon_.reset();
  }
}

TEST_P(ServersTest, AnEjectedServerIsTriedAgainAndComesBack) {
  add_servers(1);
  add_refusing_server();
  start_with_file("[\"" + address(0) + "\", \"" + address(1) + "\"]",
                  "eject-after = 1\neject-time = \"50ms\"\nbalance = \"round-robin\"\n");
  EXPECT_EQ(served(3)[0], 3);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("server_ejected")));
  start_server(1);
  EXPECT_TRUE(wait_until([this] { return serve_one().server == 1; }));
  EXPECT_TRUE(daemon_->wait_for_log(Regex("server_back route=a server=" + address(1))));
  EXPECT_EQ(served(10)[1], 5);
}

TEST_P(ServersTest, WithoutRetriesAFailureIsTheClients) {
  add_refusing_server();
  add_servers(1);
  start({"--balance", "round-robin", "--workers", "1", "--retries", "0"});
  int failed = 0;
  for (int i = 0; i < 10; ++i) {
    const OwnedFd client = connect_tcp(daemon_->port());
    pollfd ready[]{{client.get(), POLLIN, 0}, {servers_[1].fd.get(), POLLIN, 0}};
    ASSERT_GT(::poll(ready, 2, 30'000), 0);
    ready[1].revents != 0 ? accept_from(servers_[1].fd.get()).reset() : void(++failed);
  }
  EXPECT_EQ(failed, 5);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("reason=connect_refused .*attempts=1$")));
}

TEST_P(ServersTest, OneServerIsTriedAgainOnlyIfAsked) {
  add_refusing_server();
  start({"--workers", "1"});
  EXPECT_EQ(ending_of_client(), Ending::reset);
  ASSERT_EQ(daemon_->wait_for_ends(1).size(), 1U);
  EXPECT_EQ(line_of(daemon_->log(), " connection id=").find("attempts="), std::string::npos);
  EXPECT_EQ(daemon_->terminate(), 0);
  start({"--workers", "1", "--retries", "20"});
  const OwnedFd client = connect_tcp(daemon_->port());
  EXPECT_TRUE(daemon_->wait_for_log(Regex("upstream_failed")));
  start_server(0);
  EXPECT_TRUE(accept_from(servers_[0].fd.get()));
}

TEST_P(ServersTest, ABackupIsUsedOnlyWhenNoOtherServerIs) {
  add_servers(3);
  start_with_file("[\"" + address(0) + "\", \"" + address(1) + "\", { address = \"" + address(2) +
                  "\", backup = true }]");
  EXPECT_FALSE(served(20).contains(2));
  stop_listening(0);
  EXPECT_EQ(served(10).at(1), 10);
  stop_listening(1);
  EXPECT_EQ(served(10).at(2), 10);
}

/// An only primary that is down is ejected, so that it does not use up the budget of retries.
TEST_P(ServersTest, ABackupServesHoweverManyConnectionsThereAre) {
  add_refusing_server();
  add_servers(1);
  start_with_file("[\"" + address(0) + "\", { address = \"" + address(1) + "\", backup = true }]");
  EXPECT_EQ(served(400)[1], 400);
  EXPECT_EQ(counters_of(*daemon_).at("connect_failures"), "0");
}

TEST_P(ServersTest, AServerThatDoesNotAnswerGetsItsShareOfTheTime) {
  add_full_server();
  add_servers(1);
  start_with_file("[\"" + address(0) + "\", { address = \"" + address(1) + "\", backup = true }]",
                  "connect-timeout = \"2200ms\"\nretries = 1\n");
  const TimePoint before = Clock::now();
  const OwnedFd client = connect_tcp(daemon_->port());
  EXPECT_TRUE(accept_from(servers_[1].fd.get(), kLate));
  EXPECT_GE(Clock::now() - before, 1'100ms);
}

TEST_P(ServersTest, WithAllServersDownConnectsAreNotMultiplied) {
  constexpr int kClients = 500;
  add_refusing_server();
  add_refusing_server();
  start({"--workers", "1", "--connect-timeout", "1s", "--retries", "100"});
  const TimePoint before = Clock::now();
  std::vector<OwnedFd> clients;
  for (int i = 0; i < kClients; ++i) clients.push_back(connect_tcp(daemon_->port()));
  for (const OwnedFd& client : clients) EXPECT_EQ(ending_of(client.get()), Ending::reset);
  const double seconds = std::chrono::duration<double>(Clock::now() - before).count();
  const int attempts =
      std::stoi(summary_of(0).at("failures")) + std::stoi(summary_of(1).at("failures"));
  EXPECT_LE(attempts, 1.2 * kClients + 100 + 10 * seconds + 1);
  start_server(0);
  start_server(1);
  EXPECT_TRUE(serve_one().accepted) << "served again as soon as they are back";
}

/// Bytes can have moved, so there is no other attempt.
TEST_P(ServersTest, AServerThatAcceptsAndResetsEndsItsConnections) {
  add_servers(2);
  start({"--workers", "1"});
  Served one = serve_one();
  reset(std::move(one.accepted));
  EXPECT_EQ(ending_of(one.client.get()), Ending::reset);
  const auto ends = daemon_->wait_for_ends(1);
  EXPECT_EQ(ends.at(0).reason, "upstream_reset");
  EXPECT_EQ(parse_text_line(line_of(daemon_->log(), " connection id=")).at("attempts"), "1");
  EXPECT_EQ(summary_of(one.server).at("failures"), "0");
}

/// Nobody but the server's own sessions notices that it is killed.
TEST_P(ServersTest, AServerThatIsKilledUnderLoadEndsItsOwnSessionsAlone) {
  constexpr int kServers = 5;
  constexpr int kClients = 1'000;
  std::vector<std::unique_ptr<Daemon>> targets;
  std::vector<std::string> arguments{"--listen", "127.0.0.1:0", "--engine", GetParam()};
  for (int i = 0; i < kServers; ++i) {
    targets.push_back(std::make_unique<Daemon>(
        std::vector<std::string>{"--listen", "127.0.0.1:0", "--to", "echo:"}));
    arguments.insert(arguments.end(), {"--to", loopback_address(targets.back()->port())});
  }
  daemon_ = std::make_unique<Daemon>(arguments);
  std::vector<OwnedFd> sessions;
  for (int i = 0; i < 4 * kServers; ++i) {
    sessions.push_back(connect_tcp(daemon_->port()));
    ASSERT_TRUE(echoes(sessions.back().get()));
  }
  int failed = 0;
  for (int i = 0; i < kClients; ++i) {
    if (i == kClients / 4) targets[2]->process().signal(SIGKILL);
    const OwnedFd client = connect_tcp(daemon_->port());
    if (!echoes(client.get())) ++failed;
    if (i > kClients / 4) std::this_thread::sleep_for(2ms);
  }
  EXPECT_LE(failed, kClients / 100) << "those that it was just being given";
  int ended = 0;
  for (const OwnedFd& session : sessions) {
    if (!echoes(session.get())) ++ended;
  }
  EXPECT_GE(ended, 1);
  sessions.clear();
  ASSERT_EQ(daemon_->wait_for_ends(kClients + 4 * kServers).size(),
            static_cast<std::size_t>(kClients + 4 * kServers));
  const std::string killed = loopback_address(targets[2]->port());
  for (const std::string& line : lines_of(daemon_->log())) {
    if (line.find(" connection id=") == line.npos) continue;
    const LogFields fields = parse_text_line(line);
    if (fields.at("reason") == "closed") continue;
    EXPECT_EQ(fields.at("server"), killed) << line;
    EXPECT_TRUE(fields.at("reason") == "upstream_reset" || fields.at("reason") == "client_reset")
        << line;
  }
  EXPECT_EQ(counters_of(*daemon_).at("connect_failures"), "0");
}

TEST_P(ServersTest, ManyServersStartSoonAndArePicked) {
  const int count = by_scale(2'000, 10'000, 10'000);
  add_servers(1);
  std::string to = "[";
  for (int i = 0; i < count - 1; ++i) {
    to += "{ address = \"127.1." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) +
          ":" + std::to_string(servers_[0].port) + "\", weight = 1 },\n";
  }
  to += "\"" + address(0) + "\"]";
  // The listener has one address, so all others refuse; each of them is another server.
  for (const char* balance : {"two-choices", "round-robin", "source-hash"}) {
    start_with_file(to, "retries = 0\nbalance = \"" + std::string(balance) + "\"\n");
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(ending_of_client(), Ending::reset) << balance;
    }
    ASSERT_EQ(daemon_->wait_for_ends(20).size(), 20U);
    EXPECT_EQ(counters_of(*daemon_).at("connect_failures"), "20");
    EXPECT_EQ(daemon_->terminate(), 0);
    daemon_.reset();
  }
}

/// A session that waits for its next try ends with the others, and connects no more.
TEST_P(ServersTest, ADrainEndsSessionsThatWaitForTheirNextTry) {
  add_refusing_server();
  add_refusing_server();
  start({"--workers", "1", "--connect-timeout", "1h", "--retries", "100"});
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(connect_tcp(daemon_->port()));
  EXPECT_TRUE(wait_until([this] { return std::stoi(summary_of(0).at("failures")) >= 10; }));
  EXPECT_EQ(daemon_->terminate(10s), 0);
  for (const OwnedFd& client : clients) EXPECT_EQ(ending_of(client.get()), Ending::reset);
  EXPECT_EQ(count_lines(daemon_->log(), Regex("reason=drain_timeout")), 5U) << daemon_->log();
  daemon_.reset();
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, ServersTest, testing::Values("uring", "epoll"));

}  // namespace
}  // namespace sluice::test
