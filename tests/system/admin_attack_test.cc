// Clients that try to keep the admin addresses, and with them the daemon, from doing their work.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "iolib/json/json.h"
#include "tests/proxy/admin/series.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

const std::string kLive = http_request("GET", "/livez");
const std::string kMetrics = http_request("GET", "/metrics");

/// A daemon with a route that echoes, many more routes, and two admin addresses.
class ManyRoutes {
 public:
  explicit ManyRoutes(int routes) : daemon_({"--config", configuration(routes)}, options(routes)) {}

  [[nodiscard]] Daemon& daemon() { return daemon_; }
  [[nodiscard]] std::uint16_t echo_port() const { return daemon_.port_of("echo"); }
  [[nodiscard]] std::uint16_t port() const { return daemon_.listening().back().port; }
  [[nodiscard]] HttpAnswer ask_unix(std::string_view request) const {
    return exchange(connect_unix(path_).get(), request);
  }
  [[nodiscard]] HttpAnswer ask_tcp(std::string_view request) const {
    return exchange(connect_tcp(port()).get(), request);
  }

 private:
  static DaemonOptions options(int routes) {
    DaemonOptions options;
    options.listeners = static_cast<std::size_t>(routes) + 3;
    return options;
  }
  [[nodiscard]] std::string configuration(int routes) const {
    std::string text = "[defaults]\nadmin = [\"unix:" + path_ + "\", \"127.0.0.1:0\"]\n";
    const auto add = [&](const std::string& name, const std::string& listen) {
      text += "[[route]]\nname = \"" + name + "\"\nlisten = \"" + listen + "\"\nto = \"echo:\"\n";
    };
    add("echo", "127.0.0.1:0");
    for (int i = 0; i < routes; ++i) {
      const std::string number = std::to_string(i);
      add("route-" + number, "unix:" + folder_.file(number));
    }
    return folder_.write("sluice.toml", text);
  }

  TempDir folder_;
  std::string path_ = folder_.file("admin.sock");
  Daemon daemon_;
};

/// Connects again and again, and sends half a request each time.
class SlowClients {
 public:
  explicit SlowClients(std::uint16_t port) : port_(port) {}

  [[nodiscard]] int count() const { return count_; }
  void stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void attack(const std::stop_token& stop) {
    constexpr std::size_t kOpen = 500;
    std::deque<OwnedFd> open;
    while (!stop.stop_requested()) {
      open.push_back(connect_tcp(port_));
      // It may have been replaced already.
      static_cast<void>(::send(open.back().get(), "GET /livez HT", 13, MSG_NOSIGNAL));
      if (open.size() > kOpen) open.pop_front();
      ++count_;
    }
  }

  const std::uint16_t port_;
  std::atomic<int> count_ = 0;
  std::jthread thread_{[this](const std::stop_token& stop) { attack(stop); }};
};

/// Asks for the metrics again and again.
class Scraper {
 public:
  /// `unix_peer`: by the unix socket, where slow clients of TCP take no place away.
  Scraper(const ManyRoutes& routes, bool unix_peer) : routes_(routes), unix_peer_(unix_peer) {}

  [[nodiscard]] int complete() const { return complete_; }
  [[nodiscard]] int cut() const { return cut_; }

 private:
  void scrape(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const HttpAnswer answer = unix_peer_ ? routes_.ask_unix(kMetrics) : routes_.ask_tcp(kMetrics);
      // The place of a TCP peer may have been taken before its request came.
      if (answer.status == 0 && !unix_peer_) continue;
      ++(answer.status == 200 && answer.body.ends_with('\n') ? complete_ : cut_);
    }
  }

  const ManyRoutes& routes_;
  const bool unix_peer_;
  std::atomic<int> complete_ = 0, cut_ = 0;
  std::jthread thread_{[this](const std::stop_token& stop) { scrape(stop); }};
};

/// Kills the connection of `client` by the unix socket.
int kill_connection_of(const ManyRoutes& routes, int client) {
  const json::value listed =
      json::parse(routes.ask_unix(http_request("GET", "/v1/connections?route=echo")).body);
  const std::string peer = loopback_address(local_port(client));
  for (const json::value& item : listed.at("items").as_array()) {
    if (item.at("client") != json::string(peer)) continue;
    const std::string id = item.at("id").as_string().c_str();
    return routes
        .ask_unix(http_request("POST", "/v1/connections/" + id + "/kill",
                               "X-Sluice: 1\r\nContent-Type: application/json\r\n"))
        .status;
  }
  return 0;
}

TEST(AdminAttackTest, SlowClientsAndScrapersHoldUpNeitherProbesNorKillsNorForwarding) {
  ManyRoutes routes(by_scale(64, 512, 4096));
  OwnedFd forwarded = connect_tcp(routes.echo_port());
  const OwnedFd victim = connect_tcp(routes.echo_port());
  ASSERT_TRUE(echoes(forwarded.get()) && echoes(victim.get()));
  SlowClients clients(routes.port());
  // Of unix peers there are at most as many as have places of their own.
  std::deque<Scraper> scrapers;
  for (const bool unix_peer : {true, false, false, false}) scrapers.emplace_back(routes, unix_peer);
  const auto scraped = [&] {
    return std::ranges::all_of(scrapers, [](const Scraper& each) { return each.complete() > 0; });
  };
  const int enough = by_scale(1'000, 10'000, 100'000);
  int answered = 0, unanswered = 0;
  const auto begin = steady_clock::now();
  steady_clock::duration longest{};
  while (clients.count() < enough || answered < 10 || !scraped()) {
    ASSERT_LT(steady_clock::now() - begin, kLate * 4) << clients.count() << ", " << answered;
    const auto asked = steady_clock::now();
    ASSERT_EQ(routes.ask_unix(kLive).status, 200);
    longest = std::max(longest, steady_clock::now() - asked);
    // Over TCP it can be its turn to make room before its request has come.
    ++(routes.ask_tcp(kLive).status == 200 ? answered : unanswered);
    ASSERT_TRUE(echoes(forwarded.get()));
  }
  EXPECT_EQ(kill_connection_of(routes, victim.get()), 204);
  EXPECT_EQ(ending_of(victim.get()), Ending::reset);
  EXPECT_TRUE(echoes(forwarded.get()));

  clients.stop();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(routes.ask_tcp(kLive).status, 200);
  for (const Scraper& each : scrapers) EXPECT_EQ(each.cut(), 0);
  scrapers.clear();
  std::printf("%d slow clients; TCP probes answered: %d, not: %d; longest over unix: %d ms\n",
              clients.count(), answered, unanswered, static_cast<int>(longest / milliseconds(1)));
  const std::string replaced = "\nsluice_admin_rejected_total{reason=\"replaced\"} ";
  const std::string metrics = routes.ask_unix(kMetrics).body;
  EXPECT_TRUE(metrics.find(replaced) != metrics.npos &&
              metrics.find(replaced + "0\n") == metrics.npos);
  forwarded.reset();
  EXPECT_EQ(routes.daemon().terminate(kLate), 0);
}

/// A connection from 127.`n` with a port that the kernel chooses.
OwnedFd connect_from(std::uint32_t n, std::uint16_t port) {
  OwnedFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = [](std::uint32_t host, std::uint16_t its_port) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(host);
    in.sin_port = htons(its_port);
    return in;
  };
  const sockaddr_in source = address(0x7f00'0000 | (n & 0xff'ffff), 0);
  const sockaddr_in target = address(INADDR_LOOPBACK, port);
  const auto* as_source = reinterpret_cast<const sockaddr*>(&source);
  const auto* as_target = reinterpret_cast<const sockaddr*>(&target);
  if (!fd || ::bind(fd.get(), as_source, sizeof source) != 0 ||
      ::connect(fd.get(), as_target, sizeof target) != 0) {
    throw std::system_error(errno, std::generic_category(), "connect");
  }
  return fd;
}

/// Connects from as many addresses, and ends in several ways.
void visit(std::uint16_t port, std::uint32_t first, std::uint32_t count) {
  for (std::uint32_t n = first; n < first + count; ++n) {
    OwnedFd client = connect_from(n * 257, port);
    if (n % 3 == 0) {
      ASSERT_TRUE(echoes(client.get()));
    }
    if (n % 3 == 1) reset(std::move(client));
  }
}

TEST(AdminSeriesTest, ClientsFromManyAddressesAddNeitherSeriesNorMemory) {
  constexpr std::uint64_t kBoundBytes = 4 << 20;
  AdminDaemon admin;
  // Several scrapes may get the same rendering: an old one does not count.
  const auto have_come = [&](std::uint32_t clients) {
    return wait_until(
        [&] {
          const auto accepted =
              admin.metric("sluice_connections_accepted_total{route=\"default\"}");
          const auto active = admin.metric("sluice_connections_active{route=\"default\"}");
          return accepted == clients && active == 0;
        },
        kLate);
  };
  const auto series = [&] { return admin::series_of(admin.ask_unix(kMetrics).body); };
  const std::set<std::string> before = series();
  const std::uint32_t first = by_scale(100U, 1'000U, 1'000U);
  const std::uint32_t many = by_scale(400U, 4'000U, 100'000U);
  ASSERT_NO_FATAL_FAILURE(visit(admin.daemon().port(), 1, first));
  ASSERT_TRUE(have_come(first));
  const std::uint64_t before_bytes = admin.daemon().pss_bytes();
  ASSERT_NO_FATAL_FAILURE(visit(admin.daemon().port(), 1 + first, many));
  ASSERT_TRUE(have_come(first + many));
  EXPECT_EQ(series(), before);
  const std::uint64_t after_bytes = admin.daemon().pss_bytes();
  std::printf("%zu series; memory before: %llu KiB, after: %llu KiB\n", before.size(),
              static_cast<unsigned long long>(before_bytes / 1024),
              static_cast<unsigned long long>(after_bytes / 1024));
  if (!sanitized()) {
    EXPECT_LT(after_bytes, before_bytes + kBoundBytes);
  }
}

}  // namespace
}  // namespace sluice::test
