#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "tests/support/log_line.h"
#include "tests/system/servers.h"

namespace sluice::test {

/// Names that stand for many servers. The test, its name servers and the daemon have a network of
/// their own. Servers 0, 1, ... are 127.0.0.10, 127.0.0.11, ... at kPort.
class ManyNamesTest : public ServersTest {
 protected:
  static constexpr std::uint16_t kPort = 9000;

  void SetUp() override;

  static std::string host(std::size_t server) { return "127.0.0." + std::to_string(10 + server); }
  static std::string at(std::size_t server) { return host(server) + ":9000"; }
  /// Lines of a zone that give the name these addresses.
  static std::string addresses_of(const std::string& name, const std::vector<std::size_t>& servers);
  void add_hosts(std::size_t count);
  /// Starts a daemon with this after `to = `, which looks names up ten times a second.
  void start_route(const std::string& to, const std::string& more = "") {
    start_with_file(to, "resolve-interval = \"100ms\"\n" + more);
  }
  /// The names of the route's servers, as SIGUSR1 prints them.
  [[nodiscard]] std::set<std::string> servers_now();
  /// Waits until the route has this number of servers.
  [[nodiscard]] bool has_servers(std::size_t count);
  /// Waits until the daemon has looked names up again, and has got the answers if there are any.
  static void wait_for_look_ups();
  [[nodiscard]] LogFields summary_of_host(std::size_t server);
  [[nodiscard]] bool unresolved(const std::string& reason);
};

}  // namespace sluice::test
