// Clients that wait until their route or one of its servers has a place for them.

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
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

/// Two workers: who frees a place and who waits for it are often on different ones.
class QueueTest : public ServersTest {
 protected:
  static constexpr const char* kOnePlace = "route-connections = 1\nqueue-timeout = \"1h\"\n";

  void start_with(const std::string& more, std::vector<std::string> arguments = {}) {
    for (const char* each : {"--workers", "2", "--admin"}) arguments.emplace_back(each);
    arguments.push_back("unix:" + admin_);
    start_with_file(addresses(), more, arguments);
  }
  void start_one(const std::string& more, std::vector<std::string> arguments = {}) {
    add_servers(1);
    start_with(more, std::move(arguments));
  }
  /// Writes the file anew, and loads it.
  void reload(const std::string& more) {
    ++reloads_;
    static_cast<void>(folder_.write(
        "sluice.toml", "[defaults]\nworkers = 1\nengine = \"" + GetParam() +
                           "\"\ndrain-timeout = \"0\"\n[[route]]\nname = \"a\"\nlisten = \"" +
                           loopback_address(daemon_->port()) + "\"\nto = " + addresses() + "\n" +
                           more));
    daemon_->process().signal(SIGHUP);
    ASSERT_TRUE(wait_until([&] {
      return count_lines(daemon_->log(), Regex(" reloaded routes=")) == reloads_;
    })) << daemon_->log();
  }
  [[nodiscard]] HttpAnswer ask(const std::string& request) const {
    return exchange(connect_unix(admin_).get(), request);
  }
  [[nodiscard]] std::int64_t queued() const {
    const HttpAnswer answer = ask(http_request("GET", "/v1/routes"));
    const json::value routes = json::parse(answer.body);
    const json::object& limits = routes.at("items").at(0).at("limits").as_object();
    const json::value* const queue = limits.if_contains("queue");
    return queue == nullptr ? -1 : queue->at("used").to_number<std::int64_t>();
  }
  [[nodiscard]] bool wait_for_queue(std::int64_t length) const {
    return wait_until([&] { return queued() == length; });
  }
  /// A client that sends its name; it is the last of the queue once this has returned.
  OwnedFd come(std::string_view name) {
    const std::int64_t before = queued();
    OwnedFd client = connect_tcp(daemon_->port());
    EXPECT_TRUE(send_all(client.get(), name));
    EXPECT_TRUE(wait_for_queue(before + 1)) << name;
    return client;
  }
  /// The next connection that the server gets, and the name that comes on it.
  std::pair<OwnedFd, std::string> served(std::size_t server = 0) {
    OwnedFd accepted = accept_from(servers_[server].fd.get());
    std::string name = receive_text(accepted.get(), 1);
    return {std::move(accepted), std::move(name)};
  }
  /// A client that does not wait.
  Served occupy() { return serve_one(); }
  /// Frees the place.
  static void end(Served& served) {
    served.client.reset();
    served.accepted.reset();
  }
  [[nodiscard]] std::vector<LogFields> lines_with(const std::string& reason) const {
    std::vector<LogFields> found;
    for (const std::string& line : lines_of(daemon_->log())) {
      if (line.find(" connection id=") == line.npos) continue;
      LogFields fields = parse_text_line(line);
      const auto its_reason = fields.find("reason");  // a line can still be on its way
      if (its_reason != fields.end() && its_reason->second == reason)
        found.push_back(std::move(fields));
    }
    return found;
  }

  const std::string admin_ = folder_.file("admin.sock");
  std::size_t reloads_ = 0;
};

TEST_P(QueueTest, ClientsAreServedInTheOrderInWhichTheyCame) {
  start_one(std::string(kOnePlace) + "queue = 10\n");
  Served first = occupy();
  std::vector<OwnedFd> clients;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) clients.push_back(come(name));
  static_cast<void>(counters_of(*daemon_));
  const LogFields limits = parse_text_line(line_of(daemon_->log(), " limits route=a "));
  EXPECT_EQ(limits.at("queued") + " of " + limits.at("queue"), "6 of 10");
  EXPECT_EQ(ready_events(servers_[0].fd.get(), POLLIN), 0) << "nobody has overtaken";
  const HttpAnswer metrics = ask(http_request("GET", "/metrics"));
  EXPECT_NE(metrics.body.find("\nsluice_queue_length{route=\"a\"} 6\n"), std::string::npos);
  end(first);
  std::string order;
  for (OwnedFd& client : clients) {
    const auto [accepted, name] = served();
    order += name;
    EXPECT_TRUE(send_all(accepted.get(), std::string_view("y")));
    EXPECT_EQ(receive_text(client.get(), 1), "y");
    client.reset();
  }
  EXPECT_EQ(order, "abcdef");
  EXPECT_EQ(queued(), 0);
  ASSERT_EQ(daemon_->wait_for_ends(7).size(), 7U);
  for (const LogFields& end : lines_with("closed")) EXPECT_TRUE(end.contains("queued"));
}

TEST_P(QueueTest, AFullQueueResetsAtOnce) {
  start_one(std::string(kOnePlace) + "queue = 1\n");
  const Served first = occupy();
  const OwnedFd second = come("a");
  EXPECT_EQ(ending_of_client(), Ending::reset);
  EXPECT_EQ(daemon_->wait_for_ends(1).at(0).reason, "queue_full");
  EXPECT_EQ(counters_of(*daemon_).at("refused"), "1");
  EXPECT_EQ(queued(), 1);
}

TEST_P(QueueTest, WhoWaitsTooLongIsReset) {
  start_one("route-connections = 1\nqueue-timeout = \"50ms\"\nqueue = 5\n");
  const Served first = occupy();
  EXPECT_EQ(ending_of_client(), Ending::reset);
  EXPECT_EQ(daemon_->wait_for_ends(1).at(0).reason, "queue_timeout");
  EXPECT_GE(std::stod(lines_with("queue_timeout").at(0).at("queued")), 0.05);
  EXPECT_EQ(queued(), 0);
}

/// Whether they have sent something or not. Their places in the queue are free at once, and nothing
/// of them stays.
TEST_P(QueueTest, AllWhoWaitLeave) {
  constexpr int kClients = 20;
  start_one(std::string(kOnePlace) + "queue = 20\n");
  Served first = occupy();
  const std::size_t descriptors = daemon_->fd_count();
  for (int round = 0; round < 3; ++round) {
    std::vector<OwnedFd> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.push_back(connect_tcp(daemon_->port()));
      if (i % 2 == 0) {
        EXPECT_TRUE(send_all(clients.back().get(), std::string_view("x")));
      }
    }
    ASSERT_TRUE(wait_for_queue(kClients));
    clients.clear();
    ASSERT_TRUE(wait_for_queue(0));
  }
  EXPECT_TRUE(wait_until([&] { return daemon_->fd_count() <= descriptors; }));
  EXPECT_TRUE(wait_until([&] { return lines_with("left").size() == 3 * kClients; }));
  EXPECT_EQ(ready_events(servers_[0].fd.get(), POLLIN), 0) << "the server hears of none of them";
  end(first);
  ASSERT_EQ(daemon_->wait_for_ends(3 * kClients + 1).size(), std::size_t{3 * kClients + 1});
  occupy();
}

TEST_P(QueueTest, AKilledOneMakesRoom) {
  start_one(std::string(kOnePlace) + "queue = 2\n");
  Served first = occupy();
  const OwnedFd second = come("a");
  const std::string client = loopback_address(local_port(second.get()));
  const OwnedFd third = come("b");
  std::string id;
  const HttpAnswer list = ask(http_request("GET", "/v1/connections"));
  const json::value connections = json::parse(list.body);
  for (const json::value& each : connections.at("items").as_array()) {
    if (each.at("client") == json::string(client)) id = each.at("id").as_string().c_str();
  }
  EXPECT_EQ(ask(change_request("POST", "/v1/connections/" + id + "/kill")).status, 204);
  EXPECT_EQ(ending_of(second.get()), Ending::reset);
  EXPECT_EQ(queued(), 1);
  end(first);
  EXPECT_EQ(served().second, "b");
  EXPECT_TRUE(wait_until([&] { return lines_with("killed").size() == 1; }));
}

/// Also those of a higher limit, of a shorter queue, and of a shorter time.
TEST_P(QueueTest, AReloadHoldsForThoseThatWait) {
  start_one(std::string(kOnePlace) + "queue = 10\n");
  const Served first = occupy();
  std::vector<OwnedFd> clients;
  for (const char* name : {"a", "b", "c", "d"}) clients.push_back(come(name));
  reload("route-connections = 3\nqueue-timeout = \"1h\"\nqueue = 1\n");
  const auto [second, second_name] = served();
  const auto [third, third_name] = served();
  EXPECT_EQ(second_name + third_name, "ab");
  EXPECT_EQ(queued(), 2) << "those that wait may stay";
  EXPECT_EQ(ending_of_client(), Ending::reset) << "no more may come";
  reload("route-connections = 3\nqueue-timeout = \"1ms\"\nqueue = 1\n");
  EXPECT_EQ(ending_of(clients[2].get()), Ending::reset);
  EXPECT_EQ(ending_of(clients[3].get()), Ending::reset);
  EXPECT_EQ(queued(), 0);
}

TEST_P(QueueTest, AReloadThatTakesTheLimitAwayLetsAllIn) {
  start_one(std::string(kOnePlace) + "queue = 10\n");
  const Served first = occupy();
  std::vector<OwnedFd> clients;
  for (const char* name : {"a", "b", "c"}) clients.push_back(come(name));
  reload("");
  std::string order;
  std::vector<OwnedFd> accepted;
  for (int i = 0; i < 3; ++i) {
    auto [fd, name] = served();
    accepted.push_back(std::move(fd));
    order += name;
  }
  EXPECT_EQ(order, "abc");
  EXPECT_EQ(queued(), -1);
}

/// Those that wait are served by the server that the file names by then.
TEST_P(QueueTest, TheServersOfAReloadHoldForThoseThatWait) {
  add_servers(2);
  const std::string keys = std::string(kOnePlace) + "queue = 10\n";
  start_with_file("[\"" + address(0) + "\"]", keys, {"--admin", "unix:" + admin_});
  Served first = accept_next(connect_tcp(daemon_->port()));
  EXPECT_EQ(first.server, 0U);
  const OwnedFd second = come("a");
  stop_listening(0);
  static_cast<void>(folder_.write(
      "sluice.toml", "[defaults]\nworkers = 1\nengine = \"" + GetParam() +
                         "\"\ndrain-timeout = \"0\"\n[[route]]\nname = \"a\"\nlisten = \"" +
                         loopback_address(daemon_->port()) + "\"\nto = \"" + address(1) + "\"\n" +
                         keys));
  daemon_->process().signal(SIGHUP);
  ASSERT_TRUE(daemon_->wait_for_log(Regex(" reloaded routes=1 ")));
  end(first);
  EXPECT_EQ(served(1).second, "a");
}

TEST_P(QueueTest, WithoutTheirRouteTheyWaitForItsPlaces) {
  start_one(std::string(kOnePlace) + "queue = 10\n");
  Served first = occupy();
  const OwnedFd second = come("a");
  static_cast<void>(
      folder_.write("sluice.toml", "[defaults]\nworkers = 1\nengine = \"" + GetParam() +
                                       "\"\ndrain-timeout = \"0\"\n[[route]]\nname = \"b\"\n"
                                       "listen = \"127.0.0.1:0\"\nto = \"echo:\"\n"));
  daemon_->process().signal(SIGHUP);
  ASSERT_TRUE(daemon_->wait_for_log(Regex(" reloaded routes=1 ")));
  end(first);
  EXPECT_EQ(served().second, "a");
}

TEST_P(QueueTest, TheyWaitUntilAnyServerHasAPlace) {
  add_servers(2);
  start_with("server-connections = 1\nqueue-timeout = \"1h\"\nqueue = 10\n");
  std::vector<Served> all;
  for (int i = 0; i < 2; ++i) all.push_back(occupy());
  ASSERT_NE(all[0].server, all[1].server);
  const OwnedFd third = come("a");
  const OwnedFd fourth = come("b");
  end(all[1]);
  const auto [accepted, name] = served(all[1].server);
  EXPECT_EQ(name, "a");
  end(all[0]);
  EXPECT_EQ(served(all[0].server).second, "b");
}

/// A server that is full is up: it is waited for, and the one that is down is not tried.
TEST_P(QueueTest, AServerThatComesBackIsUsedAtOnce) {
  add_servers(2);
  start_with("server-connections = 1\nqueue-timeout = \"1h\"\nqueue = 10\n");
  const auto order = [&](std::size_t server, const std::string& state) {
    return ask(change_request("POST", "/v1/servers/a/" + address(server),
                              "{\"state\":\"" + state + "\"}"))
        .status;
  };
  ASSERT_EQ(order(1, "down"), 200);
  const Served first = occupy();
  EXPECT_EQ(first.server, 0U);
  const OwnedFd second = come("a");
  EXPECT_EQ(ready_events(servers_[1].fd.get(), POLLIN), 0);
  ASSERT_EQ(order(1, "up"), 200);
  EXPECT_EQ(served(1).second, "a");
}

/// Its connect to one server fails while the other one is full.
TEST_P(QueueTest, AFailedConnectWakesAndFreesThePlaces) {
  add_refusing_server();
  start_with("server-connections = 1\nqueue-timeout = \"1h\"\nqueue = 10\neject-after = 0\n");
  for (std::size_t i = 1; i <= 5; ++i) {
    EXPECT_EQ(ending_of_client(), Ending::reset);
    EXPECT_EQ(daemon_->wait_for_ends(i).back().reason, "connect_refused");
  }
  EXPECT_EQ(queued(), 0);
}

TEST_P(QueueTest, WhileTheDaemonDrainsTheyAreServedInTheirTurn) {
  start_one(std::string(kOnePlace) + "queue = 10\n", {"--drain-timeout", "1h"});
  Served first = occupy();
  OwnedFd second = come("a");
  daemon_->process().signal(SIGTERM);
  ASSERT_TRUE(daemon_->wait_for_log(Regex(" draining ")));
  end(first);
  auto [accepted, name] = served();
  EXPECT_EQ(name, "a");
  second.reset();
  accepted.reset();
  EXPECT_EQ(daemon_->process().wait(), 0);
  daemon_.reset();
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, QueueTest, testing::Values("uring", "epoll"));

}  // namespace
}  // namespace sluice::test
