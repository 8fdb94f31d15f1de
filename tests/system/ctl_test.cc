// sluice-ctl and the real daemon.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "iolib/json/json.h"
#include "tests/support/regex.h"
#include "tests/support/terminal.h"
#include "tests/support/wait.h"
#include "tests/system/ctl_program.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"

namespace sluice::test {
namespace {

/// A daemon with a route that has two servers, and one that echoes, records and has a mirror.
class CtlDaemonTest : public testing::Test {
 protected:
  CtlDaemonTest() {
    const std::string config = folder_.write(
        "sluice.toml", "[defaults]\nadmin = [\"unix:" + socket() +
                           "\", \"127.0.0.1:0\"]\nlame-duck = \"1d\"\n"
                           "[[route]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nto = [\"" +
                           first() + "\", \"" + loopback_address(second_.port) +
                           "\"]\n[[route]]\nname = \"echo\"\nlisten = \"127.0.0.1:0\"\n"
                           "to = \"echo:\"\ncapture = \"" +
                           folder_.file("capture") + "\"\nmirror = \"" +
                           loopback_address(mirror_.port) + "\"\n");
    DaemonOptions options;
    options.listeners = 4;
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", config}, options);
  }

  [[nodiscard]] std::string socket() const { return folder_.file("admin.sock"); }
  [[nodiscard]] std::string first() const { return loopback_address(first_.port); }
  [[nodiscard]] Outcome ctl(std::vector<std::string> arguments) const {
    return run_ctl_at(socket(), std::move(arguments));
  }
  /// The items of a list.
  [[nodiscard]] json::array items(std::vector<std::string> arguments) const {
    arguments.emplace_back("--json");
    const Outcome outcome = ctl(std::move(arguments));
    EXPECT_EQ(outcome.status, 0) << outcome.error;
    return json::parse(outcome.output).at("items").as_array();
  }
  [[nodiscard]] OwnedFd echoed() const {
    OwnedFd client = connect_tcp(daemon_->port_of("echo"));
    EXPECT_TRUE(echoes(client.get()));
    return client;
  }

  TempDir folder_;
  Listener first_ = listen_tcp(), second_ = listen_tcp(), mirror_ = listen_tcp();
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(CtlDaemonTest, EveryListIsATableWithItsNames) {
  const OwnedFd client = echoed();
  const std::string peer = loopback_address(local_port(client.get()));
  const std::pair<const char*, std::vector<std::string>> lists[] = {
      {"status", {"state        ready", "connections  1 of at most "}},
      {"routes", {"ROUTE ", "web ", "echo ", "echo:", first() + " +1", "2/2"}},
      {"servers", {"SERVER ", first() + "  up ", loopback_address(second_.port)}},
      {"connections", {"CLIENT ", peer + "  echo ", "yes"}},
      {"captures", {"DIRECTORY ", folder_.file("capture") + "  echo "}},
      {"mirrors", {"MIRROR ", loopback_address(mirror_.port) + "  echo "}}};
  for (const auto& [command, words] : lists) {
    const Outcome outcome = ctl({command});
    EXPECT_EQ(outcome.status, 0) << outcome.error;
    for (const std::string& word : words) {
      EXPECT_TRUE(contains(outcome.output, word)) << word << "\n" << outcome.output;
    }
  }
}

TEST_F(CtlDaemonTest, ManyConnectionsAreListedAcrossPages) {
  constexpr std::size_t kClients = 1100;
  std::vector<OwnedFd> clients;
  for (std::size_t i = 0; i < kClients; ++i) clients.push_back(echoed());
  EXPECT_EQ(items({"connections", "--route", "echo"}).size(), kClients);
  EXPECT_EQ(items({"connections", "--sort", "age", "--limit", "1050"}).size(), 1050U);
  EXPECT_EQ(items({"connections", "--route", "web"}).size(), 0U);
  EXPECT_EQ(lines_of(ctl({"connections"}).output).size(), kClients + 1);
}

TEST_F(CtlDaemonTest, KillResetsTheConnectionsThatAreNamed) {
  const OwnedFd one = echoed();
  const OwnedFd two = echoed();
  std::string id;
  for (const json::value& item : items({"connections"})) {
    if (item.at("client") == json::string(loopback_address(local_port(one.get())))) {
      id = item.at("id").as_string().c_str();
    }
  }
  ASSERT_NE(id, "");
  const Outcome outcome = ctl({"kill", id, "nobody/.."});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.output, "killed " + id + "\n");
  EXPECT_TRUE(outcome.error.starts_with("sluice-ctl: kill nobody/..: ")) << outcome.error;
  EXPECT_EQ(ending_of(one.get()), Ending::reset);
  EXPECT_TRUE(echoes(two.get()));
  EXPECT_EQ(ctl({"kill", id}).status, 1);
}

TEST_F(CtlDaemonTest, ServersAreTakenOutAndPutBack) {
  for (const std::string state : {"drain", "down", "up"}) {
    const Outcome outcome = ctl({"server", state, "web", first()});
    EXPECT_EQ(outcome.status, 0) << outcome.error;
    EXPECT_EQ(outcome.output, first() + " of web: " + state + "\n");
    EXPECT_EQ(items({"servers"}).at(0).at("ordered"), json::string(state));
  }
  for (const auto& [route, server] : {std::pair("web", "[::1]:1"), std::pair("none", "[::1]:1")}) {
    const Outcome outcome = ctl({"server", "up", route, server});
    EXPECT_EQ(outcome.status, 1);
    EXPECT_TRUE(contains(outcome.error, route)) << outcome.error;
  }
}

TEST_F(CtlDaemonTest, CapturesAreSwitched) {
  for (const std::string order : {"off", "on"}) {
    const Outcome outcome = ctl({"capture", order, "echo"});
    EXPECT_EQ(outcome.status, 0) << outcome.error;
    EXPECT_EQ(outcome.output, "capture of echo: " + order + "\n");
    EXPECT_TRUE(Regex("\necho .* " + order + " ").is_in(ctl({"routes"}).output));
  }
  EXPECT_EQ(ctl({"capture", "off", "web"}).status, 1);
}

TEST_F(CtlDaemonTest, ADrainCanBeWaitedForAndUndone) {
  OwnedFd client = echoed();
  EXPECT_EQ(ctl({"drain", "--wait", "10ms"}).error, "sluice-ctl: connections left after 10ms: 1\n");
  EXPECT_EQ(ctl({"ready"}).status, 1);
  Process waiting({ctl_program(), "drain", "--wait", "--socket", socket()});
  ASSERT_TRUE(waiting.wait_for_output_line(Regex("503")));
  client.reset();
  EXPECT_EQ(waiting.wait(kLate), 0) << waiting.standard_error();
  EXPECT_TRUE(echoes(echoed().get()));
  EXPECT_EQ(ctl({"undrain"}).status, 0);
  EXPECT_EQ(ctl({"ready"}).status, 0);
}

TEST_F(CtlDaemonTest, TheLogLevelIsPrintedAndSet) {
  EXPECT_EQ(ctl({"log-level"}).output, "info\n");
  EXPECT_TRUE(contains(ctl({"status"}).output, "log level    info\n"));
  EXPECT_EQ(ctl({"log-level", "debug"}).output, "debug\n");
  EXPECT_TRUE(contains(ctl({"status"}).output, "log level    debug\n"));
  EXPECT_EQ(ctl({"log-level", "--json"}).output, "{\"level\":\"debug\"}\n");
  const Outcome outcome = ctl({"log-level", "loud"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(contains(outcome.error, "level")) << outcome.error;
}

TEST_F(CtlDaemonTest, ReadyFollowsTheDaemonToItsEnd) {
  EXPECT_EQ(ctl({"ready"}).output, "ready\n");
  daemon_->process().signal(SIGTERM);
  ASSERT_TRUE(wait_until([&] { return ctl({"ready"}).status == 1; }, kLate));
  EXPECT_EQ(ctl({"ready"}).error, "sluice-ctl: The state is lame_duck.\n");
  EXPECT_EQ(daemon_->terminate(kLate), 0);
  const Outcome outcome = ctl({"ready"});
  EXPECT_EQ(outcome.status, 3);
  EXPECT_TRUE(contains(outcome.error, "nobody answers: connect unix:" + socket())) << outcome.error;
}

TEST_F(CtlDaemonTest, WithoutTheRightToUseTheSocketNothingIsAllowed) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  ProcessOptions options;
  options.user = "nobody";
  const Outcome outcome = run_ctl({"status", "--socket", socket()}, options);
  EXPECT_EQ(outcome.status, 4) << outcome.error;
  EXPECT_TRUE(contains(outcome.error, "Permission denied")) << outcome.error;
}

TEST_F(CtlDaemonTest, TopShowsItOnATerminal) {
  const OwnedFd client = echoed();
  Terminal terminal;
  terminal.resize(30, 120);
  ProcessOptions options;
  options.standard_input = terminal.program_end();
  options.standard_output = terminal.program_end();
  Process process({ctl_program(), "top", "--socket", socket()}, options);
  const std::string peer = loopback_address(local_port(client.get()));
  std::string shown = terminal.read_until(peer);
  ASSERT_TRUE(contains(shown, peer)) << shown;
  EXPECT_TRUE(contains(shown, "web ") && contains(shown, "echo ")) << shown;
  // The next table has rates.
  shown = terminal.read_until("bytes/s");
  EXPECT_TRUE(contains(shown, "bytes/s")) << shown;
  terminal.type("q");
  EXPECT_EQ(process.wait(kLate), 0);
}

TEST(CtlGuardTest, ATokenIsNeededOverTcpAndNotOverTheUnixSocket) {
  const TempDir folder;
  const auto token_file = [&](const char* name, const std::string& token) {
    std::string path = folder.write(name, token + "\n");
    EXPECT_EQ(::chmod(path.c_str(), 0600), 0);
    return path;
  };
  const std::string good = token_file("good", std::string(40, 'x'));
  const std::string bad = token_file("bad", std::string(40, 'y'));
  const AdminDaemon admin({"--admin-token-file", good});
  const std::string tcp = loopback_address(admin.port());
  EXPECT_EQ(run_ctl_at(admin.path(), {"status"}).status, 0);
  EXPECT_EQ(run_ctl_at(tcp, {"status", "--token-file", good}).status, 0);
  const Outcome without = run_ctl_at(tcp, {"status"});
  EXPECT_EQ(without.status, 4);
  EXPECT_EQ(without.error,
            "sluice-ctl: not allowed: A token is needed. --token-file names its file.\n");
  EXPECT_EQ(run_ctl_at(tcp, {"status", "--token-file", bad}).status, 4);
  // An address that others can reach has probes only.
  const std::string remote = loopback_address(admin.remote_port());
  EXPECT_EQ(run_ctl_at(remote, {"status", "--token-file", good}).status, 4);
  EXPECT_EQ(run_ctl_at(remote, {"ready"}).status, 0);
}

}  // namespace
}  // namespace sluice::test
