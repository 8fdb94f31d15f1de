// Names that stand for many servers, as real name servers answer them.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/daemon.h"
#include "tests/support/process.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/many_names.h"
#include "tests/system/name_server.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

TEST_P(ManyNamesTest, EachAddressIsAServerAndNewOnesAreUsed) {
  add_hosts(3);
  DnsmasqServer names(host(0) + " web.test\n" + host(1) + " web.test\n");
  start_route("\"dns:web.test:9000\"", "balance = \"round-robin\"\n");
  auto counts = served(20);
  EXPECT_NEAR(counts[0], 10, 1);
  EXPECT_NEAR(counts[1], 10, 1);
  const auto ends = daemon_->wait_for_ends(20);
  EXPECT_NE(ends[0].line.find(" server=" + ends[0].upstream + " attempts=1"), std::string::npos);
  // Another set of them: what was known stays for now.
  names.change(host(2) + " web.test\n");
  EXPECT_TRUE(has_servers(3));
  counts = served(30);
  for (std::size_t server = 0; server < 3; ++server) EXPECT_NEAR(counts[server], 10, 1) << server;
  EXPECT_TRUE(daemon_->wait_for_log(Regex("resolved route=a name=dns:web.test:9000 servers=3")));
}

TEST_P(ManyNamesTest, AnswersThatFailOrAreEmptyChangeNothing) {
  add_hosts(2);
  const std::string records = addresses_of("web", {0, 1});
  KnotServer names(records);
  start_route("\"dns:web.test:9000\"");
  const auto nothing_changes = [this] {
    wait_for_look_ups();
    EXPECT_EQ(servers_now(), (std::set<std::string>{at(0), at(1)}));
    EXPECT_EQ(served(20).size(), 2U);
  };
  nothing_changes();
  names.change("");
  EXPECT_EQ(ask("web.test", kTypeA).code, 3) << "NXDOMAIN";
  nothing_changes();
  EXPECT_TRUE(unresolved("not found .authoritative"));
  names.change("web TXT nothing\n");
  EXPECT_EQ(ask("web.test", kTypeA).code, 0);
  EXPECT_EQ(ask("web.test", kTypeA).answers, 0);
  nothing_changes();
  names.break_zone();
  EXPECT_EQ(ask("web.test", kTypeA).code, 2) << "SERVFAIL";
  nothing_changes();
  EXPECT_TRUE(unresolved("try again later"));
  names.stop();
  nothing_changes();
  names.change(records);
  nothing_changes();
}

TEST_P(ManyNamesTest, ASilentNameServerDelaysTheFirstServersAndNothingElse) {
  add_hosts(1);
  {
    const OwnedFd silent(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(53);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::bind(silent.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    start_route("[\"dns:web.test:9000\", \"srv:_web._tcp.test\"]", "health = \"tcp\"\n");
    EXPECT_TRUE(unresolved(""));
    EXPECT_TRUE(servers_now().empty());
    const OwnedFd client = connect_tcp(daemon_->port());
    EXPECT_EQ(ending_of(client.get()), Ending::reset);
    EXPECT_EQ(daemon_->wait_for_ends(1)[0].reason, "no_server");
  }
  KnotServer names(addresses_of("web", {0}));
  EXPECT_TRUE(has_servers(1));
  EXPECT_EQ(serve_one().server, 0U);
  EXPECT_EQ(summary_of_host(0).at("check"), "passed") << "at once";
}

TEST_P(ManyNamesTest, SrvRecordsHavePrioritiesAndWeights) {
  add_hosts(5);
  KnotServer names(
      "_web._tcp SRV 10 30 9000 a\n_web._tcp SRV 10 10 9000 b\n_web._tcp SRV 10 0 9000 c\n"
      "_web._tcp SRV 20 0 9000 d\n_web._tcp SRV 30 0 9000 e\n" +
      addresses_of("a", {0}) + addresses_of("b", {1}) + addresses_of("c", {2}) +
      addresses_of("d", {3}) + addresses_of("e", {4}));
  start_route("\"srv:_web._tcp.test\"",
              "balance = \"round-robin\"\nhealth = \"tcp\"\n"
              "health-interval = \"20ms\"\nhealth-fall = 1\n");
  EXPECT_EQ(servers_now(),
            (std::set<std::string>{"a.test/" + at(0), "b.test/" + at(1), "c.test/" + at(2),
                                   "d.test/" + at(3), "e.test/" + at(4)}));
  auto counts = served(200);
  EXPECT_NEAR(counts[0], 150, 2);
  EXPECT_NEAR(counts[1], 50, 2);
  EXPECT_LE(counts[2], 1) << "the least weight beside others";
  EXPECT_EQ(counts[3] + counts[4], 0) << "backups";
  for (std::size_t server = 0; server < 3; ++server) stop_listening(server);
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_TRUE(
        daemon_->wait_for_log(Regex("server_down .*server=" + std::string(name) + ".test")));
  }
  counts = served(20);
  EXPECT_NEAR(counts[3], 10, 1) << "all backups are equal";
  EXPECT_NEAR(counts[4], 10, 1);
}

TEST_P(ManyNamesTest, SrvWeightsOfZeroAreEqual) {
  add_hosts(3);
  KnotServer names("_web._tcp SRV 0 0 9000 a\n_web._tcp SRV 0 0 9000 b\n" +
                   addresses_of("a", {0, 1}) + addresses_of("b", {2}));
  start_route("\"srv:_web._tcp.test\"", "balance = \"round-robin\"\n");
  const auto counts = served(30);
  for (std::size_t server = 0; server < 3; ++server) EXPECT_NEAR(counts.at(server), 10, 1);
}

TEST_P(ManyNamesTest, AnAnswerThatIsTruncatedIsFetchedOverTcp) {
  constexpr std::size_t kRecords = 200;
  std::string records;
  for (std::size_t i = 0; i < kRecords; ++i) {
    const std::string target = "target-" + std::to_string(i);
    records += "_web._tcp SRV 0 0 9000 " + target + "\n" + addresses_of(target, {i});
  }
  KnotServer names(records);
  EXPECT_TRUE(ask("_web._tcp.test", kTypeSrv).truncated);
  start_route("\"srv:_web._tcp.test\"");
  EXPECT_TRUE(has_servers(kRecords));
}

TEST_P(ManyNamesTest, ATargetWithoutAddressesIsReportedAndTheOthersServe) {
  add_hosts(2);
  const std::string records =
      "_web._tcp SRV 0 0 9000 a\n_web._tcp SRV 0 0 9000 b\n_web._tcp SRV 0 0 9000 c\n";
  KnotServer names(records + addresses_of("a", {0}));
  start_route("\"srv:_web._tcp.test\"");
  EXPECT_TRUE(unresolved("resolve b.test.: Host not found"));
  wait_for_look_ups();
  EXPECT_EQ(servers_now(), (std::set<std::string>{"a.test/" + at(0)}));
  names.change(records + addresses_of("b", {1}));
  EXPECT_TRUE(has_servers(2)) << "the other one stays";
  EXPECT_TRUE(unresolved("resolve a.test.: Host not found"));
  names.change(records + addresses_of("a", {0}) + addresses_of("b", {1}) + addresses_of("c", {2}));
  EXPECT_TRUE(has_servers(3));
  // Once for each reason, however many look-ups have it. One that began before a change of the zone
  // and ended after it may have a reason of its own.
  const auto lines = lines_with(daemon_->log(), Regex("name_unresolved"));
  const auto reason = [](const std::string& line) { return line.substr(line.find("reason=")); };
  EXPECT_GE(lines.size(), 2U);
  EXPECT_EQ(std::ranges::adjacent_find(lines, {}, reason), lines.end());
}

TEST_P(ManyNamesTest, SubsetsAddUp) {
  add_hosts(6);
  KnotServer names(addresses_of("web", {0, 1}));
  start_route("\"dns:web.test:9000\"");
  for (int round = 0; round < 3; ++round) {
    for (const std::size_t first : {2U, 4U, 0U}) {
      names.change(addresses_of("web", {first, first + 1}));
      EXPECT_TRUE(has_servers(round == 0 && first > 0 ? first + 2 : 6));
    }
  }
  EXPECT_EQ(servers_now().size(), 6U);
}

TEST_P(ManyNamesTest, NamesAndOtherServersMix) {
  KnotServer names(addresses_of("web", {0, 1}) + "_web._tcp SRV 0 5 9000 a\n" +
                   addresses_of("a", {1, 2}) + "own A 127.0.0.1\n" + addresses_of("own", {3}) +
                   "loop A 127.0.0.1\n");
  const std::string file = folder_.write(
      "sluice.toml",
      "[defaults]\nresolve-interval = \"100ms\"\ndrain-timeout = \"0\"\n"
      "[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:9000\"\nto = [\"" +
          at(0) +
          "\", { address = \"dns:web.test:9000\", weight = 3 }, \"dns:own.test:9000\",\n"
          "{ address = \"srv:_web._tcp.test\", backup = true }]\n"
          "[[route]]\nname = \"b\"\nlisten = \"127.0.0.1:9001\"\nto = \"dns:loop.test:9001\"\n");
  DaemonOptions options;
  options.listeners = 2;
  daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", file}, options);
  EXPECT_EQ(servers_now(), (std::set<std::string>{at(0), at(1), at(3), "a.test/" + at(2)}))
      << "each once, and none that leads back";
  EXPECT_TRUE(daemon_->wait_for_log(Regex("name_unresolved route=b .*127.0.0.1:9001 leads back")));
}

TEST_P(ManyNamesTest, WhatDoesNotFitIsLeftOut) {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < 240; ++i) all.push_back(i);
  std::string more;
  for (const std::size_t i : all) more += "web A 127.0.1." + std::to_string(i) + "\n";
  KnotServer names(addresses_of("web", all) + more);
  start_route("\"dns:web.test:9000\"", "balance = \"least-connections\"\n");
  EXPECT_TRUE(daemon_->wait_for_log(Regex("servers_left_out route=a servers=256 left_out=224")));
  EXPECT_EQ(servers_now().size(), 256U);
}

TEST_P(ManyNamesTest, AServerThatIsMissingGoesAndItsConnectionsStay) {
  add_hosts(2);
  KnotServer names(addresses_of("web", {0, 1}));
  start_route("\"dns:web.test:9000\"", "health = \"tcp\"\nhealth-interval = \"20ms\"\n");
  std::vector<Served> open;
  for (int i = 0; i < 20; ++i) open.push_back(serve_one());
  names.change(addresses_of("web", {1}));
  const auto changed = std::chrono::steady_clock::now();
  ASSERT_TRUE(daemon_->wait_for_log(Regex("resolved .* servers=1$"), 60s));
  EXPECT_GE(std::chrono::steady_clock::now() - changed, 29s);
  EXPECT_EQ(servers_now(), (std::set<std::string>{at(1)}));
  EXPECT_EQ(served(20)[1], 20);
  bool any_of_it = false;
  for (const Served& each : open) {
    any_of_it = any_of_it || each.server == 0;
    EXPECT_EQ(transfer(each.client.get(), each.accepted.get(), Pattern(1), 100'000), "");
  }
  EXPECT_TRUE(any_of_it);
  // Its checks have ended.
  stop_listening(0);
  names.change(addresses_of("web", {0, 1}));
  EXPECT_TRUE(daemon_->wait_for_log(Regex("server_down .*server=" + at(0)))) << "a new server";
  EXPECT_EQ(count_lines(daemon_->log(), Regex("server_down")), 1U);
}

/// Before the interval is over, since the name is looked up when a server may go.
TEST_P(ManyNamesTest, AServerGoesInTimeAndThoseOfAFamilyWhoseAnswersFailStay) {
  SLUICE_NEEDS_PROGRAM("ip");
  // getaddrinfo() asks for the families of which the machine has more than loopback addresses.
  for (const char* address : {"10.9.9.9/32", "fd00::9/128"}) {
    Process ip({"ip", "addr", "replace", address, "dev", "lo"});
    if (ip.wait() != 0) GTEST_SKIP() << "no address " << address << ": " << ip.standard_error();
  }
  add_hosts(2);
  stop_listening(0);
  const std::string six = "[fd00::9]:9000";
  BadNameServer names({.four = {host(0), host(1)}, .six = {"fd00::9"}});
  start_with_file("\"dns:web.test:9000\"",
                  "resolve-interval = \"1h\"\nbalance = \"round-robin\"\n");
  EXPECT_EQ(servers_now(), (std::set<std::string>{at(0), at(1), six}));
  names.change({.four = {host(1)}, .six_fails = true});
  // A failed connect looks the name up.
  const int before = names.questions();
  ASSERT_TRUE(wait_until([&] {
    EXPECT_EQ(serve_one().server, 1U);
    std::this_thread::sleep_for(100ms);  // slowly, since the budget of retries is limited
    return names.questions() > before;
  }));
  ASSERT_TRUE(daemon_->wait_for_log(Regex("resolved .* servers=2$"), 120s));
  EXPECT_EQ(servers_now(), (std::set<std::string>{at(1), six}));
  EXPECT_TRUE(unresolved("try again later"));
}

TEST_P(ManyNamesTest, ALookUpThatHangsIsRepeated) {
  add_hosts(1);
  BadNameServer names({.four = {host(0)}, .truncated = true});
  start_route("\"dns:web.test:9000\"");
  ASSERT_TRUE(wait_until([&] { return names.questions() > 0; }));
  names.change({.four = {host(0)}});
  EXPECT_TRUE(daemon_->wait_for_log(Regex("name_unresolved .*no answer for 1min"), 180s));
  EXPECT_TRUE(has_servers(1));
  EXPECT_EQ(serve_one().server, 0U);
}

INSTANTIATE_TEST_SUITE_P(Epoll, ManyNamesTest, testing::Values("epoll"));

}  // namespace
}  // namespace sluice::test
