// The examples for names that stand for many servers, with a real name server. Only the names, the
// ports and the intervals are replaced.

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/regex.h"
#include "tests/system/example.h"
#include "tests/system/many_names.h"
#include "tests/system/name_server.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

class NamesExampleTest : public ManyNamesTest {
 protected:
  void start_example(const std::string& name, Replacements replaced) {
    replaced.emplace_back("1s", "100ms");
    daemon_ = std::make_unique<Daemon>(
        std::vector<std::string>{"--config", folder_.write(name, example_with(name, replaced)),
                                 "--engine", GetParam(), "--drain-timeout", "0"});
  }
  /// A connection, and the server that gets its bytes. A check can be in a server's queue, too, if
  /// the daemon stood still at the wrong moment; it brings none.
  [[nodiscard]] Served serve_bytes() {
    OwnedFd client = connect_tcp(daemon_->port());
    EXPECT_TRUE(send_all(client.get(), "x"));
    Served served = accept_next(std::move(client));
    while (served.accepted && receive_text(served.accepted.get(), 1) != "x") {
      served = accept_next(std::move(served.client));
    }
    return served;
  }
  /// Those that get some of so many connections that none is missing by chance.
  [[nodiscard]] std::set<std::size_t> reached() {
    std::set<std::size_t> all;
    for (int i = 0; i < 80; ++i) all.insert(serve_bytes().server);
    return all;
  }
  /// A connection to this server.
  [[nodiscard]] Served session_with(std::size_t server) {
    for (int i = 0; i < 80; ++i) {
      Served session = serve_bytes();
      if (session.server == server) return session;
    }
    ADD_FAILURE() << "no connection comes to " << at(server);
    return {};
  }
  [[nodiscard]] bool is_logged(const std::string& event, std::size_t server) {
    return daemon_->wait_for_log(Regex(event + " .*server=[^ ]*" + at(server)));
  }
};

using Servers = std::set<std::size_t>;

TEST_P(NamesExampleTest, ConnectionsFollowThePodsOfKubernetes) {
  add_hosts(3);
  KnotServer names(addresses_of("web", {0, 1}));
  start_example("kubernetes.toml", {{"dns:web.default.svc.cluster.local.:8080",
                                     "dns:web.test.:" + std::to_string(kPort)},
                                    {"5s", "100ms"}});
  EXPECT_EQ(reached(), (Servers{0, 1}));

  names.change(addresses_of("web", {0, 1, 2}));
  EXPECT_TRUE(has_servers(3));
  EXPECT_EQ(reached(), (Servers{0, 1, 2}));

  // One shuts down: it leaves the DNS and stops listening; its connections go on.
  const Served session = session_with(0);
  names.change(addresses_of("web", {1, 2}));
  stop_listening(0);
  EXPECT_EQ(reached(), (Servers{1, 2}));
  EXPECT_TRUE(is_logged("server_down", 0));
  EXPECT_TRUE(has_servers(2));
  EXPECT_EQ(reached(), (Servers{1, 2}));
  EXPECT_EQ(transfer(session.client.get(), session.accepted.get(), Pattern(1), 100'000), "");

  // The DNS fails.
  names.stop();
  wait_for_look_ups();
  EXPECT_EQ(reached(), (Servers{1, 2}));
}

TEST_P(NamesExampleTest, ConnectionsFollowTheInstancesOfConsul) {
  add_hosts(4);
  // Consul's names and numbers: each target is an address.
  const auto instance = [](const std::string& name, std::size_t server) {
    const std::string target = "addr-" + std::to_string(server);
    return name + " SRV 1 1 9000 " + target + "\n" + addresses_of(target, {server});
  };
  const auto here = [&](const Servers& servers) {
    std::string records = instance("_web._tcp.dc2", 3);
    for (const std::size_t server : servers) records += instance("_web._tcp", server);
    return records;
  };
  KnotServer names(here({0, 1}));
  start_example("consul.toml", {{"srv:_web._tcp.service.consul", "srv:_web._tcp.test"},
                                {"srv:_web._tcp.service.dc2.consul", "srv:_web._tcp.dc2.test"},
                                {"10s", "100ms"}});
  EXPECT_EQ(reached(), (Servers{0, 1})) << "none in the other datacenter";

  // One is registered; later Consul leaves out another one, which still answers.
  names.change(here({0, 1, 2}));
  EXPECT_TRUE(has_servers(4));
  EXPECT_EQ(reached(), (Servers{0, 1, 2}));
  names.change(here({1, 2}));
  EXPECT_TRUE(has_servers(3));
  EXPECT_EQ(reached(), (Servers{1, 2}));

  // All fail; then one is back.
  names.change(here({}));
  for (const std::size_t server : {1U, 2U}) {
    stop_listening(server);
    EXPECT_TRUE(is_logged("server_down", server));
  }
  EXPECT_EQ(reached(), (Servers{3}));
  start_server(1);
  names.change(here({1}));
  EXPECT_TRUE(is_logged("server_up", 1));
  EXPECT_EQ(reached(), (Servers{1}));
}

INSTANTIATE_TEST_SUITE_P(OneEngine, NamesExampleTest, testing::Values("auto"));

}  // namespace
}  // namespace sluice::test
