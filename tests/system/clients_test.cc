// Who may come in, from where, and how many: clients that are turned away.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/endpoint.h"
#include "iolib/base/readiness.h"
#include "iolib/wire/proxy_header.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"
#include "tests/system/servers.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

class ClientsTest : public ServersTest {
 protected:
  void start_one(const std::string& more) {
    add_servers(1);
    start_with_file(addresses(), more);
  }
  /// The route `edge` forwards to that server, and clients that begin with `x` to the route `inner`
  /// and the other one of two.
  void start_two(std::size_t of_edge, const std::string& more_of_edge,
                 const std::string& more_of_inner) {
    add_servers(2);
    const std::string file =
        folder_.write("edge.toml", "[defaults]\nengine = \"" + GetParam() +
                                       "\"\ndrain-timeout = \"0\"\n[[route]]\nname = \"edge\"\n"
                                       "listen = \"127.0.0.1:0\"\nto = \"" +
                                       address(of_edge) + "\"\n" + more_of_edge +
                                       "[[route.match]]\nprefix = \"x\"\nroute = \"inner\"\n"
                                       "[[route]]\nname = \"inner\"\nto = \"" +
                                       address(1 - of_edge) + "\"\n" + more_of_inner);
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", file});
  }
  /// Connects from this local address. Returns an errno, or 0.
  [[nodiscard]] int connect_at(int client, const std::string& source) {
    sockaddr_in from{};
    from.sin_family = AF_INET;
    EXPECT_EQ(::inet_pton(AF_INET, source.c_str(), &from.sin_addr), 1);
    EXPECT_EQ(::bind(client, reinterpret_cast<const sockaddr*>(&from), sizeof from), 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(daemon_->port());
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool done = ::connect(client, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    return done ? 0 : errno;
  }
  /// How a connection from this local address ends, from which nothing is sent.
  [[nodiscard]] Ending ending_from(const std::string& source) {
    const OwnedFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int error = connect_at(client.get(), source);
    if (error == 0) return ending_of(client.get());
    EXPECT_EQ(error, ECONNRESET);
    return Ending::reset;
  }
  [[nodiscard]] OwnedFd connect_from(const std::string& source) {
    OwnedFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect_at(client.get(), source), 0);
    return client;
  }
  /// A client that a PROXY header declares to be at this address, and that has sent `x`.
  [[nodiscard]] OwnedFd declared(const std::string& host) {
    OwnedFd client = connect_tcp(daemon_->port());
    const std::string header = wire::proxy_header_v2(
        {numeric_address({host, 4321}).value(), numeric_address({"192.0.2.1", 443}).value()});
    EXPECT_TRUE(send_all(client.get(), header + "x"));
    return client;
  }
  /// The server's end of the connection.
  OwnedFd serve(const OwnedFd& client) {
    OwnedFd server = accept_from(servers_[0].fd.get());
    EXPECT_TRUE(send_all(server.get(), std::string_view("y")));
    EXPECT_EQ(receive_text(client.get(), 1), "y");
    return server;
  }
  void expect_served(const OwnedFd& client) { static_cast<void>(serve(client)); }
  /// Makes that the keys of the route that start_one() has started.
  void reload(const std::string& more) {
    const auto reloads = [&] { return count_lines(daemon_->log(), Regex(" reloaded ")); };
    const std::size_t before = reloads();
    write_file(addresses(), more);
    daemon_->process().signal(SIGHUP);
    ASSERT_TRUE(wait_until([&] { return reloads() > before; })) << daemon_->log();
  }
  /// A place can become free a moment after its connection has ended.
  [[nodiscard]] Served serve_when_there_is_room() {
    Served served;
    EXPECT_TRUE(wait_until([&] {
      OwnedFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (connect_at(client.get(), "127.0.0.1") != 0) return false;
      if (!wait_until([&] { return !nobody_came() || ready_events(client.get(), POLLIN) != 0; })) {
        return false;
      }
      if (nobody_came()) return false;  // it was reset
      served = accept_next(std::move(client));
      return true;
    }));
    return served;
  }
  [[nodiscard]] bool nobody_came() const { return ready_events(servers_[0].fd.get(), POLLIN) == 0; }
  /// How many clients the log says were turned away.
  [[nodiscard]] std::uint64_t rejected(std::string_view reason, std::string_view limit = {}) const {
    return count_rejected(daemon_->log(), reason, limit);
  }
};

TEST_P(ClientsTest, WhoIsDeniedIsResetAndNoServerHearsOfIt) {
  start_one("deny = [\"127.0.0.0/8\", \"192.0.2.0/24\"]\nallow = \"127.0.0.1\"\n");
  EXPECT_EQ(ending_from("127.0.0.2"), Ending::reset);
  EXPECT_TRUE(nobody_came());
  EXPECT_EQ(daemon_->wait_for_ends(1).size(), 1U);
  const LogFields end = parse_text_line(line_of(daemon_->log(), " connection id="));
  EXPECT_EQ(end.at("reason"), "denied");
  EXPECT_TRUE(end.at("client").starts_with("127.0.0.2:"));
  EXPECT_EQ(counters_of(*daemon_).at("refused"), "1");
  expect_served(connect_tcp(daemon_->port()));
}

TEST_P(ClientsTest, TheDeclaredClientCounts) {
  start_one(
      "deny = [\"198.51.100.0/24\", \"2001:db8::/32\"]\nproxy-in = \"trusted\"\n"
      "proxy-trust = \"127.0.0.1\"\n");
  EXPECT_EQ(ending_of(declared("198.51.100.7").get()), Ending::reset);
  EXPECT_EQ(ending_of(declared("2001:db8::7").get()), Ending::reset);
  EXPECT_TRUE(nobody_came());
  expect_served(declared("203.0.113.7"));
  expect_served(declared("2001:db9::7"));
}

TEST_P(ClientsTest, TheListsAreThoseOfTheRouteThatListens) {
  start_two(1, "deny = \"127.0.0.2\"\n", "deny = \"127.0.0.1\"\n");
  EXPECT_EQ(ending_from("127.0.0.2"), Ending::reset);
  const OwnedFd client = connect_tcp(daemon_->port());
  ASSERT_TRUE(send_all(client.get(), std::string_view("x")));
  expect_served(client);
}

TEST_P(ClientsTest, ClientsOfUnixSocketsHaveABlockOfTheirOwn) {
  add_servers(1);
  const std::string path = folder_.file("s");
  const std::string file =
      folder_.write("unix.toml", "[defaults]\nengine = \"" + GetParam() +
                                     "\"\ndrain-timeout = \"0\"\n[[route]]\nname = \"a\"\n"
                                     "listen = [\"127.0.0.1:0\", \"unix:" +
                                     path + "\"]\nto = " + addresses() + "\nallow = \"unix:\"\n");
  DaemonOptions options;
  options.listeners = 2;
  daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", file}, options);
  expect_served(connect_unix(path));
  EXPECT_EQ(ending_of_client(), Ending::reset);
}

TEST_P(ClientsTest, AFloodOfDeniedClientsHasOneLineASecond) {
  constexpr std::uint64_t kClients = 500;
  start_one("deny = \"127.0.0.1\"\n");
  const auto began = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < kClients; ++i) EXPECT_EQ(ending_of_client(), Ending::reset);
  ASSERT_TRUE(wait_until([&] { return rejected("denied") == kClients; })) << "all are counted";
  const auto seconds = std::chrono::steady_clock::now() - began;
  const auto lines = count_lines(daemon_->log(), Regex("reason=denied"));
  EXPECT_LE(lines, static_cast<std::size_t>(seconds / 1s) + 2);
  EXPECT_EQ(counters_of(*daemon_).at("refused"), std::to_string(kClients));
  EXPECT_TRUE(nobody_came());
}

TEST_P(ClientsTest, AListThatVanishesLaterIsStillInForce) {
  const std::string list = folder_.write("deny.txt", "127.0.0.0/8\n");
  start_one("deny = \"file:" + list + "\"\n");
  ASSERT_EQ(::unlink(list.c_str()), 0);
  EXPECT_EQ(ending_of_client(), Ending::reset);
  daemon_->process().signal(SIGHUP);
  ASSERT_TRUE(daemon_->wait_for_log(Regex(" reload_refused .*deny.txt: cannot open")));
  EXPECT_EQ(ending_of_client(), Ending::reset) << "nor does a reload forget it";
  EXPECT_EQ(
      refusal({"--check", "--listen", "127.0.0.1:0", "--to", "echo:", "--deny", "file:" + list}, 2,
              {"--deny", list + ": cannot open: No such file or directory"}),
      "");
}

TEST_P(ClientsTest, DeniedClientsAreNotRecorded) {
  start_one(
      "deny = \"198.51.100.0/24\"\nproxy-in = \"trusted\"\nproxy-trust = \"127.0.0.1\"\n"
      "capture = \"" +
      folder_.file("capture") + "\"\n");
  EXPECT_EQ(ending_of(declared("198.51.100.7").get()), Ending::reset);
  expect_served(declared("203.0.113.7"));
  EXPECT_EQ(daemon_->terminate(), 0);
  daemon_.reset();
  const Recorded capture = read_capture(folder_.file("capture"));
  EXPECT_EQ(capture.only().open.client, "203.0.113.7:4321");
}

TEST_P(ClientsTest, ASourceHasAsManyConnectionsAsItMay) {
  start_one("source-connections = 2\n");
  OwnedFd first = connect_tcp(daemon_->port());
  expect_served(first);
  const OwnedFd second = connect_tcp(daemon_->port());
  expect_served(second);
  EXPECT_EQ(ending_of_client(), Ending::reset);
  EXPECT_EQ(daemon_->wait_for_ends(1).at(0).reason, "limited");
  EXPECT_EQ(rejected("limited", "source-connections"), 1U);
  EXPECT_TRUE(nobody_came());
  expect_served(connect_from("127.0.0.2"));
  first.reset();
  ASSERT_EQ(daemon_->wait_for_ends(3).size(), 3U);
  expect_served(connect_tcp(daemon_->port()));
}

TEST_P(ClientsTest, TheDeclaredSourceIsCountedAndAnIpv6OneIsItsFirst64Bits) {
  start_one("source-connections = 1\nproxy-in = \"trusted\"\nproxy-trust = \"127.0.0.1\"\n");
  const OwnedFd first = declared("2001:db8::1");
  const OwnedFd stays = serve(first);  // closed with what it has not read, it would be a reset
  EXPECT_EQ(ending_of(declared("2001:db8::2").get()), Ending::reset);
  const OwnedFd other = declared("2001:db8:0:1::1");
  expect_served(other);
  const OwnedFd v4 = declared("203.0.113.7");
  expect_served(v4);
}

TEST_P(ClientsTest, ASourceBeginsAsManyConnectionsInATimeAsItMay) {
  start_one("source-rate = \"1/m\"\n");
  expect_served(connect_tcp(daemon_->port()));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ending_of_client(), Ending::reset);
  expect_served(connect_from("127.0.0.2"));
  ASSERT_TRUE(wait_until([&] { return rejected("limited", "source-rate") == 20; }));
  EXPECT_EQ(counters_of(*daemon_).at("refused"), "20");
}

/// Also that of a connection whose server cannot be reached.
TEST_P(ClientsTest, EveryEndFreesThePlaceOfItsSource) {
  add_refusing_server();
  start_with_file(addresses(), "source-connections = 1\n");
  for (std::size_t i = 1; i <= 5; ++i) {
    EXPECT_EQ(ending_of_client(), Ending::reset);
    EXPECT_EQ(daemon_->wait_for_ends(i).back().reason, "connect_refused");
  }
}

TEST_P(ClientsTest, ARouteHasAsManyConnectionsAsItMay) {
  start_two(0, "", "route-connections = 2\n");
  std::vector<Forwarded> inner;
  const auto say = [&](std::string_view bytes) {
    OwnedFd client = connect_tcp(daemon_->port());
    EXPECT_TRUE(send_all(client.get(), bytes));
    return client;
  };
  for (int i = 0; i < 2; ++i) {
    OwnedFd client = say("x");
    inner.push_back({std::move(client), accept_from(servers_[1].fd.get())});
  }
  EXPECT_EQ(ending_of(say("x").get()), Ending::reset);
  const std::vector<ConnectionEnd> ends = daemon_->wait_for_ends(1);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "limited");
  EXPECT_EQ(ends[0].route, "inner");
  EXPECT_EQ(rejected("limited", "route-connections"), 1U);
  expect_served(say("y"));  // the route that listens has no limit
  inner.pop_back();
  ASSERT_EQ(daemon_->wait_for_ends(3).size(), 3U);
  const OwnedFd next = say("x");
  EXPECT_EQ(receive_text(accept_from(servers_[1].fd.get()).get(), 1), "x");
}

TEST_P(ClientsTest, AServerHasAsManyConnectionsAsItMay) {
  add_servers(2);
  start_with_file("[\"" + address(0) + "\", { address = \"" + address(1) + "\", connections = 2 }]",
                  "server-connections = 1\n");
  std::map<std::size_t, int> counts;
  std::vector<Served> served;
  for (int i = 0; i < 3; ++i) {
    served.push_back(serve_one());
    ++counts[served.back().server];
  }
  EXPECT_EQ(counts, (std::map<std::size_t, int>{{0, 1}, {1, 2}}));
  EXPECT_EQ(ending_of_client(), Ending::reset);
  EXPECT_EQ(daemon_->wait_for_ends(1).at(0).reason, "limited");
  EXPECT_EQ(rejected("limited", "server-connections"), 1U);
  const std::size_t freed = served.back().server;
  served.pop_back();
  ASSERT_EQ(daemon_->wait_for_ends(2).size(), 2U);
  EXPECT_EQ(serve_one().server, freed);
}

/// It is tried again, and its own failed connect does not fill it.
TEST_P(ClientsTest, AFailedConnectFreesThePlaceAtItsServer) {
  add_refusing_server();
  start_with_file(addresses(), "server-connections = 1\nretries = 2\neject-after = 0\n");
  for (std::size_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(ending_of_client(), Ending::reset);
    EXPECT_EQ(daemon_->wait_for_ends(i).back().reason, "connect_refused");
  }
}

TEST_P(ClientsTest, AReloadReadsListsAgainAndKeepsTheCountsOfSources) {
  const std::string list = folder_.write("deny.txt", "127.0.0.3\n");
  start_one("source-connections = 1\ndeny = \"file:" + list + "\"\n");
  const OwnedFd client = connect_tcp(daemon_->port());
  expect_served(client);
  static_cast<void>(folder_.write("deny.txt", "127.0.0.2\nnonsense\n"));
  daemon_->process().signal(SIGHUP);
  ASSERT_TRUE(daemon_->wait_for_log(Regex("deny.txt:2: no address")));
  expect_served(connect_from("127.0.0.2"));
  EXPECT_EQ(ending_from("127.0.0.3"), Ending::reset) << "a broken list changes nothing";
  static_cast<void>(folder_.write("deny.txt", "127.0.0.2\n"));
  daemon_->process().signal(SIGHUP);
  ASSERT_TRUE(daemon_->wait_for_log(Regex(" reloaded routes=1 changed=1")));
  EXPECT_EQ(ending_from("127.0.0.2"), Ending::reset);
  expect_served(connect_from("127.0.0.3"));
  EXPECT_EQ(ending_of_client(), Ending::reset) << "its source has a connection already";
}

TEST_P(ClientsTest, TheSummarySaysHowMuchOfLimitsIsUsedAndWhoWasTurnedAway) {
  start_one(
      "route-connections = 9\nserver-connections = 1\nsource-connections = 5\n"
      "deny = \"127.0.0.2\"\n");
  const Served served = serve_one();
  EXPECT_EQ(ending_of_client(), Ending::reset);
  EXPECT_EQ(ending_from("127.0.0.2"), Ending::reset);
  ASSERT_TRUE(wait_until([&] { return rejected("limited") + rejected("denied") == 2; }));
  daemon_->process().signal(SIGUSR1);
  EXPECT_TRUE(daemon_->wait_for_log(
      Regex(" limits route=a places=1 places_limit=9 sources=1 denied=1 server-connections=1$")))
      << daemon_->log();
  EXPECT_TRUE(daemon_->wait_for_log(
      Regex(" server route=a .* active=1 failures=0 places=1 places_limit=1$")))
      << daemon_->log();
}

/// Lowered, a limit ends nobody; nobody comes in until there is room.
TEST_P(ClientsTest, AReloadRaisesLowersRemovesAndAddsLimitsAndKeepsTheCounts) {
  for (const std::string key : {"route-connections", "server-connections", "source-connections"}) {
    servers_.clear();
    start_one(key + " = 1\n");
    std::size_t turned_away = 0;
    const auto expect_full = [&](const std::string& what) {
      EXPECT_EQ(ending_of_client(), Ending::reset) << key << ' ' << what;
      ++turned_away;
    };
    std::vector<Served> served;
    served.push_back(serve_one());
    expect_full("at first");
    reload(key + " = 2\n");
    served.push_back(serve_one());
    expect_full("raised");
    reload(key + " = 1\n");
    for (const Served& each : served) {
      ASSERT_TRUE(send_all(each.client.get(), std::string_view("y")));
      EXPECT_EQ(receive_text(each.accepted.get(), 1), "y") << key;
    }
    served.pop_back();
    const Regex closed(" reason=closed");
    ASSERT_TRUE(wait_until([&] { return count_lines(daemon_->log(), closed) == 1; }));
    expect_full("lowered");
    served.pop_back();
    served.push_back(serve_when_there_is_room());
    reload("");
    for (int i = 0; i < 3; ++i) served.push_back(serve_one());
    served.pop_back();
    // Only a server's count is kept where it has no limit.
    reload(key + " = 1\n");
    if (key != "server-connections") served.push_back(serve_one());
    expect_full("added");
    EXPECT_TRUE(wait_until([&] { return rejected("limited", key) >= turned_away; }))
        << key << '\n'
        << daemon_->log();
    EXPECT_EQ(daemon_->terminate(), 0);
  }
  daemon_.reset();
}

TEST_P(ClientsTest, ServersAndTheirChecksAreConnectedToFromTheSource) {
  start_one(
      "source = \"127.0.0.9\"\nhealth = \"exchange\"\nhealth-send = \"\"\n"
      "health-expect = \"y\"\nhealth-interval = \"1h\"\n");
  const OwnedFd client = connect_tcp(daemon_->port());
  for (int i = 0; i < 2; ++i) {  // the check, and the client
    const OwnedFd server = accept_from(servers_[0].fd.get());
    EXPECT_TRUE(peer_name(server.get()).to_string().starts_with("127.0.0.9:"));
    EXPECT_TRUE(send_all(server.get(), std::string_view("y")));
  }
  EXPECT_EQ(receive_text(client.get(), 1), "y");
}

/// That is no server's fault: none is ejected for it.
TEST_P(ClientsTest, ASourceThatIsNotOfThisMachineFailsTheConnect) {
  const std::string keys = "eject-after = 1\nretries = 0\nsource = ";
  std::size_t ends = 0;
  for (const auto& [source, why] : std::vector<std::pair<std::string, std::string>>{
           {"192.0.2.1", "bind 192.0.2.1"}, {"::1", "from [::1]"}}) {
    servers_.clear();
    start_one(keys + '"' + source + "\"\n");
    ends = 0;
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(ending_of_client(), Ending::reset);
      EXPECT_EQ(daemon_->wait_for_ends(++ends).back().reason, "connect_failed");
    }
    EXPECT_NE(line_of(daemon_->log(), " upstream_failed ").find(why), std::string::npos);
    EXPECT_EQ(line_of(daemon_->log(), " server_ejected "), "");
    EXPECT_EQ(daemon_->terminate(), 0);
  }
  daemon_.reset();
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, ClientsTest, testing::Values("uring", "epoll"));

}  // namespace
}  // namespace sluice::test
