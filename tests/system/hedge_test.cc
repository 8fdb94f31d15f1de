// A connect that takes long, and the second one beside it.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "iolib/base/clock.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"
#include "tests/system/servers.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

class HedgedTest : public ServersTest {};

TEST_P(HedgedTest, ASlowConnectIsHedged) {
  constexpr int kClients = 20;
  for (const char* retries : {"3", "0"}) {
    servers_.clear();
    stopped_.clear();
    add_servers(1);
    add_full_server();
    start({"--balance", "round-robin", "--workers", "1", "--hedge-after", "50ms", "--retries",
           retries});
    const TimePoint before = Clock::now();
    EXPECT_EQ(served(kClients)[0], kClients);
    EXPECT_LT(Clock::now() - before, 1'100ms * kClients / 2) << "less than its share of the time";
    ASSERT_EQ(daemon_->wait_for_ends(kClients).size(), std::size_t{kClients});
    std::map<std::string, int> attempts;
    for (const std::string& line : lines_of(daemon_->log())) {
      if (line.find(" connection id=") == line.npos) continue;
      const LogFields fields = parse_text_line(line);
      EXPECT_EQ(fields.at("server"), address(0)) << line;
      EXPECT_EQ(fields.at("upstream"), address(0)) << line;
      ++attempts[fields.at("attempts")];
    }
    EXPECT_EQ(attempts["1"], kClients / 2);
    EXPECT_EQ(attempts["2"], kClients / 2);
    const LogFields slow = summary_of(1);
    EXPECT_EQ(slow.at("failures"), "0") << "it was only slower";
    EXPECT_EQ(slow.at("active"), "0");
    EXPECT_NE(slow.at("state"), "ejected");
    EXPECT_EQ(daemon_->terminate(), 0);
    daemon_.reset();
  }
}

TEST_P(HedgedTest, NoHedgeGoesToAnEjectedServer) {
  add_full_server();
  add_refusing_server();
  start_with_file(addresses(),
                  "eject-after = 1\neject-time = \"5m\"\nbalance = \"round-robin\"\n"
                  "retries = 0\nhedge-after = \"20ms\"\nconnect-timeout = \"200ms\"\n");
  // The refusing server is ejected by its turn, or by the hedge of the other's.
  EXPECT_EQ(ending_of_client(), Ending::reset);
  EXPECT_EQ(ending_of_client(), Ending::reset);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("server_ejected route=a server=" + address(1))));
  const OwnedFd client = connect_tcp(daemon_->port());
  EXPECT_EQ(ending_of(client.get()), Ending::reset);
  ASSERT_EQ(daemon_->wait_for_ends(3).size(), 3U);
  const LogFields last = parse_text_line(line_of(daemon_->log(), " connection id="));
  EXPECT_EQ(last.at("attempts"), "1");
  EXPECT_EQ(last.at("reason"), "connect_timeout");
}

TEST_P(HedgedTest, AServerWhoseTrialWasCancelledIsTriedAgain) {
  add_servers(1);
  add_refusing_server();
  start_with_file(addresses(),
                  "eject-after = 1\neject-time = \"100ms\"\nbalance = \"round-robin\"\n"
                  "hedge-after = \"20ms\"\nconnect-timeout = \"1h\"\n");
  EXPECT_EQ(served(3)[0], 3);
  ASSERT_EQ(daemon_->wait_for_ends(3).size(), 3U);
  const auto two_attempts = [this] { return count_lines(daemon_->log(), Regex("attempts=2$")); };
  const std::size_t refused = two_attempts();
  // Now it hangs, so the hedge of its trial wins.
  start_listening(servers_[1], 0);
  fill(1);
  EXPECT_TRUE(wait_until([&] { return serve_one().server == 0 && two_attempts() > refused; }));
  EXPECT_EQ(count_lines(daemon_->log(), Regex("server_back")), 0U) << "nothing is decided";
  make_room(1);
  EXPECT_TRUE(wait_until([this] { return serve_one().server == 1; }));
  EXPECT_TRUE(daemon_->wait_for_log(Regex("server_back route=a server=" + address(1))));
}

TEST_P(HedgedTest, WithAllServersHangingHedgesAreBounded) {
  constexpr int kClients = 500;
  add_full_server();
  add_full_server();
  start_with_file(addresses(),
                  "eject-after = 0\nretries = 0\nhedge-after = \"20ms\"\n"
                  "connect-timeout = \"1s\"\n");
  const TimePoint before = Clock::now();
  std::vector<OwnedFd> clients;
  for (int i = 0; i < kClients; ++i) clients.push_back(connect_tcp(daemon_->port()));
  for (const OwnedFd& client : clients) EXPECT_EQ(ending_of(client.get()), Ending::reset);
  const double seconds = std::chrono::duration<double>(Clock::now() - before).count();
  ASSERT_EQ(daemon_->wait_for_ends(kClients).size(), std::size_t{kClients});
  int attempts = 0;
  for (const std::string& line : lines_of(daemon_->log())) {
    if (line.find(" connection id=") == line.npos) continue;
    attempts += std::stoi(parse_text_line(line).at("attempts"));
  }
  EXPECT_GE(attempts, kClients + 100);
  EXPECT_LE(attempts, 1.2 * kClients + 100 + 10 * seconds + 1);
  EXPECT_EQ(summary_of(0).at("active"), "0");
}

TEST_P(HedgedTest, ADrainEndsSessionsThatAreHedged) {
  add_full_server();
  add_full_server();
  start({"--workers", "1", "--connect-timeout", "1h", "--hedge-after", "20ms"});
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(connect_tcp(daemon_->port()));
  EXPECT_TRUE(wait_until(
      [this] { return summary_of(0).at("active") == "5" && summary_of(1).at("active") == "5"; }));
  EXPECT_EQ(daemon_->terminate(10s), 0);
  for (const OwnedFd& client : clients) EXPECT_EQ(ending_of(client.get()), Ending::reset);
  EXPECT_EQ(count_lines(daemon_->log(), Regex("reason=drain_timeout")), 5U) << daemon_->log();
  daemon_.reset();
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, HedgedTest, testing::Values("uring", "epoll"));

}  // namespace
}  // namespace sluice::test
