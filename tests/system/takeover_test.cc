// A process that takes over from the one that runs.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"
#include "tests/system/takeover_load.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

/// Daemons that echo at one address, each of which can take over from the one before. The parameter
/// is the engine.
class TakeoverTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
  }

  [[nodiscard]] std::vector<std::string> arguments(
      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"--listen",
                                    "127.0.0.1:" + std::to_string(port_),
                                    "--to",
                                    "echo:",
                                    "--engine",
                                    GetParam(),
                                    "--takeover-socket",
                                    socket()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] std::string socket() const { return folder_.file("takeover.sock"); }
  [[nodiscard]] std::unique_ptr<Daemon> start(const std::vector<std::string>& more = {}) const {
    return std::make_unique<Daemon>(arguments(more));
  }
  /// A daemon that has taken over.
  [[nodiscard]] std::unique_ptr<Daemon> take_over(std::vector<std::string> more = {}) const {
    more.emplace_back("--takeover");
    auto daemon = start(more);
    EXPECT_TRUE(daemon->wait_for_log(Regex("taken_over"), kLate)) << daemon->log();
    return daemon;
  }

  TempDir folder_;
  const std::uint16_t port_ = free_port();
};

INSTANTIATE_TEST_SUITE_P(Engines, TakeoverTest, testing::Values("uring", "epoll"),
                         [](const auto& engine) { return engine.param; });

TEST_P(TakeoverTest, LosesNoClientAndNoByteWithOtherNumbersOfWorkers) {
  std::vector<std::unique_ptr<Daemon>> daemons;
  daemons.push_back(start({"--workers", "1"}));
  EchoLoad load(port_, 4, 2);
  for (const char* workers : {"4", "2", "1"}) {
    daemons.push_back(take_over({"--workers", workers}));
    const Daemon& before = **(daemons.end() - 2);
    const std::string pid = std::to_string(daemons.back()->process().pid());
    EXPECT_TRUE(before.wait_for_log(Regex("handed_over pid=" + pid), kLate)) << before.log();
    EXPECT_TRUE(load.goes_on()) << workers;
  }
  // The first has the streams; those between have nothing left.
  EXPECT_EQ(daemons[1]->process().wait(kLate), 0) << daemons[1]->log();
  EXPECT_EQ(daemons[2]->process().wait(kLate), 0) << daemons[2]->log();
  EXPECT_TRUE(daemons[0]->process().running());
  EXPECT_EQ(load.stop(), "");
  EXPECT_EQ(daemons[0]->process().wait(kLate), 0) << daemons[0]->log();
  EXPECT_EQ(daemons[3]->terminate(), 0) << daemons[3]->log();
}

TEST_P(TakeoverTest, MetricsNeverFallAndHaveTheEndsOfEarlierProcesses) {
  const std::uint16_t admin = free_port();
  const std::vector<std::string> more = {"--admin", loopback_address(admin)};
  const auto metric = [&](const std::string& name) -> double {
    const std::string text =
        "\n" + exchange(connect_tcp(admin).get(), http_request("GET", "/metrics")).body;
    const std::size_t at = text.find("\n" + name + " ");
    return at == text.npos ? -1 : std::strtod(text.c_str() + at + name.size() + 2, nullptr);
  };
  // A rendering is shared for a while.
  const auto comes_to = [&](const std::string& name, double value) {
    return wait_until([&] { return metric(name) == value; });
  };
  const std::string accepted = "sluice_connections_accepted_total{route=\"default\"}";
  const std::string closed = "sluice_connections_closed_total{route=\"default\",reason=\"closed\"}";
  const std::string bytes = "sluice_forwarded_bytes_total{route=\"default\",dir=\"to_upstream\"}";
  const std::string count = "sluice_connection_duration_seconds_count{route=\"default\"}";

  std::vector<std::unique_ptr<Daemon>> daemons;
  std::vector<OwnedFd> held;
  const auto hold_one = [&] {
    held.push_back(connect_tcp(port_));
    ASSERT_TRUE(send_all(held.back().get(), "hold"));
    ASSERT_EQ(receive_text(held.back().get(), 4), "hold");
  };
  daemons.push_back(start(more));
  hold_one();
  for (double takeovers = 1; takeovers <= 2; ++takeovers) {
    daemons.push_back(take_over(more));
    EXPECT_TRUE(comes_to(accepted, takeovers)) << metric(accepted);
    EXPECT_TRUE(comes_to(bytes, 4 * takeovers)) << metric(bytes);
    hold_one();
  }
  // The connections of the first process end, and it does.
  ASSERT_TRUE(send_all(held[0].get(), "more"));
  ASSERT_EQ(receive_text(held[0].get(), 4), "more");
  held[0].reset();
  EXPECT_EQ(daemons[0]->process().wait(kLate), 0) << daemons[0]->log();
  const std::string first = std::to_string(daemons[0]->process().pid());
  ASSERT_TRUE(daemons.back()->wait_for_log(Regex("predecessor_ended pid=" + first), kLate));
  EXPECT_TRUE(comes_to(closed, 1)) << metric(closed);
  EXPECT_TRUE(comes_to(bytes, 16)) << metric(bytes);
  EXPECT_TRUE(comes_to(count, 1)) << metric(count);
  // So does that of the second. The third has it all, and so has who comes after it.
  held[1].reset();
  EXPECT_EQ(daemons[1]->process().wait(kLate), 0) << daemons[1]->log();
  const std::string second = std::to_string(daemons[1]->process().pid());
  ASSERT_TRUE(daemons.back()->wait_for_log(Regex("predecessor_ended pid=" + second), kLate));
  daemons.push_back(take_over(more));
  EXPECT_TRUE(comes_to(accepted, 3)) << metric(accepted);
  EXPECT_TRUE(comes_to(closed, 2)) << metric(closed);
  EXPECT_TRUE(comes_to(bytes, 16)) << metric(bytes);
  EXPECT_TRUE(comes_to(count, 2)) << metric(count);
  held[2].reset();
  EXPECT_TRUE(comes_to(closed, 3)) << metric(closed);
  EXPECT_EQ(daemons.back()->terminate(), 0);
}

TEST_P(TakeoverTest, ACaptureHasAllConnectionsOfAllProcesses) {
  const std::string directory = folder_.file("capture");
  const std::vector<std::string> more = {"--capture", directory, "--durability", "before-forward"};
  std::vector<std::unique_ptr<Daemon>> daemons;
  daemons.push_back(start(more));
  OwnedFd cut = connect_tcp(port_);
  ASSERT_TRUE(echoes(cut.get()));
  // This process dies while two others record beside it.
  daemons.push_back(take_over(more));
  daemons[0]->process().signal(SIGKILL);
  EXPECT_EQ(daemons[0]->process().wait(kLate), -SIGKILL);
  EchoLoad load(port_, 1, 2);
  for (int i = 0; i < 2; ++i) {
    daemons.push_back(take_over(more));
    EXPECT_TRUE(load.goes_on());
  }
  EXPECT_EQ(load.stop(), "");
  EXPECT_EQ(daemons[1]->process().wait(kLate), 0) << daemons[1]->log();
  EXPECT_EQ(daemons[2]->process().wait(kLate), 0) << daemons[2]->log();
  EXPECT_EQ(daemons[3]->terminate(), 0) << daemons[3]->log();
  // All is sealed, and nothing is missing but the end of what the first process had.
  for (const auto& each : std::filesystem::directory_iterator(directory)) {
    EXPECT_NE(each.path().extension(), ".open") << each.path();
  }
  const int status = verify_status(directory);
  EXPECT_TRUE(status == 0 || status == 3) << status;
}

TEST_P(TakeoverTest, ConnectionsOfOlderProcessesCountForTheLimitsOfARouteAndItsServers) {
  const Daemon server({"--listen", "127.0.0.1:0", "--to", "echo:"});
  const std::uint16_t of_route = free_port();
  const std::uint16_t of_server = free_port();
  const std::string file = folder_.write(
      "sluice.toml", "[defaults]\nengine = \"" + GetParam() + "\"\ntakeover-socket = \"" +
                         socket() + "\"\n[[route]]\nname = \"route\"\nlisten = \"" +
                         loopback_address(of_route) +
                         "\"\nto = \"echo:\"\nroute-connections = 2\n[[route]]\n"
                         "name = \"server\"\nlisten = \"" +
                         loopback_address(of_server) + "\"\nto = \"" +
                         loopback_address(server.port()) + "\"\nserver-connections = 2\n");
  // None if the client is turned away.
  const auto served = [](std::uint16_t port) {
    // Who is turned away can be reset before connect(2) has returned.
    OwnedFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool echoed =
        ::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 &&
        send_all(client.get(), "hold") && receive_text(client.get(), 4, kLate) == "hold";
    return echoed ? std::move(client) : OwnedFd();
  };
  DaemonOptions options;
  options.listeners = 2;
  std::vector<std::unique_ptr<Daemon>> daemons;
  std::vector<OwnedFd> held;
  const auto hold_one_of_each = [&] {
    for (const std::uint16_t port : {of_route, of_server}) {
      held.push_back(served(port));
      ASSERT_TRUE(held.back());
    }
  };
  daemons.push_back(std::make_unique<Daemon>(std::vector<std::string>{"--config", file}, options));
  hold_one_of_each();
  // The third process knows it of both of the others.
  for (int i = 0; i < 2; ++i) {
    daemons.push_back(std::make_unique<Daemon>(
        std::vector<std::string>{"--config", file, "--takeover"}, options));
    ASSERT_TRUE(daemons.back()->wait_for_log(Regex("taken_over"), kLate)) << daemons.back()->log();
    if (i == 0) hold_one_of_each();
  }
  const auto is_full = [&](std::uint16_t port) { return !served(port); };
  EXPECT_TRUE(is_full(of_route));
  EXPECT_TRUE(is_full(of_server));
  const auto turned_away = [&](const std::string& limit) {
    return count_rejected(daemons.back()->log(), "limited", limit) > 0;
  };
  EXPECT_TRUE(wait_until([&] { return turned_away("route-connections"); }, kLate));
  EXPECT_TRUE(wait_until([&] { return turned_away("server-connections"); }, kLate));
  // There is room again for those that leave the first process.
  held.erase(held.begin(), held.begin() + 2);
  EXPECT_EQ(daemons[0]->process().wait(kLate), 0) << daemons[0]->log();
  for (const std::uint16_t port : {of_route, of_server}) {
    OwnedFd next;
    EXPECT_TRUE(wait_until([&] { return static_cast<bool>(next = served(port)); }, kLate));
    EXPECT_TRUE(is_full(port));
    held.push_back(std::move(next));
  }
  held.clear();
  EXPECT_EQ(daemons[1]->process().wait(kLate), 0) << daemons[1]->log();
  EXPECT_EQ(daemons[2]->terminate(), 0) << daemons[2]->log();
}

TEST_P(TakeoverTest, FourOldProcessesMayStillHaveConnectionsAndTheNextTakeoverIsRefused) {
  std::vector<std::unique_ptr<Daemon>> daemons;
  std::vector<OwnedFd> held;
  daemons.push_back(start());
  for (int i = 0; i < 4; ++i) {
    held.push_back(connect_tcp(port_));
    ASSERT_TRUE(send_all(held.back().get(), "hold"));
    ASSERT_EQ(receive_text(held.back().get(), 4), "hold");
    daemons.push_back(take_over());
  }
  Process fifth([&] {
    auto command = arguments({"--takeover"});
    command.insert(command.begin(), daemon_binary());
    return command;
  }());
  EXPECT_EQ(fifth.wait(kLate), 1);
  EXPECT_EQ(fifth.standard_error(),
            "sluice: takeover: refused: 4 processes that were replaced still have connections, and "
            "no more may\n");
  // None was killed, and each still serves.
  for (const OwnedFd& each : held) {
    ASSERT_TRUE(send_all(each.get(), "more"));
    EXPECT_EQ(receive_text(each.get(), 4), "more");
  }
  held.erase(held.begin() + 1);
  EXPECT_EQ(daemons[1]->process().wait(kLate), 0);
  ASSERT_TRUE(daemons.back()->wait_for_log(Regex("predecessor_ended"), kLate));
  daemons.push_back(take_over());
  held.clear();
  for (std::size_t i = 0; i + 1 < daemons.size(); ++i) {
    EXPECT_EQ(daemons[i]->process().wait(kLate), 0);
  }
  EXPECT_EQ(daemons.back()->terminate(), 0);
}

}  // namespace
}  // namespace sluice::test
