#include "tests/system/many_names.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>

#include "tests/support/daemon.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/name_server.h"
#include "tests/system/outcome.h"

namespace sluice::test {

void ManyNamesTest::SetUp() {
  // Once for the process, also if its tests are repeated.
  static const std::string refused = enter_own_network();
  if (!refused.empty()) GTEST_SKIP() << refused;
  SLUICE_NEEDS_PROGRAM("knotd");
  SLUICE_NEEDS_PROGRAM("dnsmasq");
  ServersTest::SetUp();
}

std::string ManyNamesTest::addresses_of(const std::string& name,
                                        const std::vector<std::size_t>& servers) {
  std::string lines;
  for (const std::size_t server : servers) lines += name + " A " + host(server) + "\n";
  return lines;
}

void ManyNamesTest::add_hosts(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    Listener& server = servers_.emplace_back();
    server.port = kPort;
    server.fd = OwnedFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(kPort);
    ASSERT_EQ(::inet_pton(AF_INET, host(servers_.size() - 1).c_str(), &address.sin_addr), 1);
    const int reuse = 1;
    ::setsockopt(server.fd.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    ASSERT_EQ(::bind(server.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    ASSERT_EQ(::listen(server.fd.get(), 1'000), 0);
  }
}

std::set<std::string> ManyNamesTest::servers_now() {
  const std::size_t before = daemon_->log().size();
  static_cast<void>(counters_of(*daemon_));
  std::set<std::string> names;
  for (const std::string& line : lines_of(daemon_->log().substr(before))) {
    if (line.find(" server route=") != line.npos) names.insert(parse_text_line(line)["server"]);
  }
  return names;
}

bool ManyNamesTest::has_servers(std::size_t count) {
  return wait_until([&] { return servers_now().size() == count; }, std::chrono::seconds(60));
}

void ManyNamesTest::wait_for_look_ups() {
  const std::uint64_t before = sent_datagrams();
  ASSERT_TRUE(wait_until([&] { return sent_datagrams() > before + 20; }));
}

LogFields ManyNamesTest::summary_of_host(std::size_t server) {
  static_cast<void>(counters_of(*daemon_));
  return parse_text_line(line_of(daemon_->log(), " server=" + at(server) + " state="));
}

bool ManyNamesTest::unresolved(const std::string& reason) {
  return daemon_->wait_for_log(Regex("name_unresolved route=a name=.* reason=\".*" + reason));
}

}  // namespace sluice::test
