#include "tests/system/servers.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {

void ServersTest::SetUp() {
  if (GetParam() == "uring" && !io_uring_available()) {
    GTEST_SKIP() << "the kernel refuses io_uring here";
  }
}

void ServersTest::TearDown() {
  if (!daemon_) return;
  if (HasFailure()) std::printf("the daemon's log:\n%s\n", daemon_->log().c_str());
  EXPECT_EQ(daemon_->terminate(), 0);
}

void ServersTest::add_servers(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) servers_.push_back(listen_tcp());
}

void ServersTest::add_refusing_server() {
  stopped_.insert(servers_.size());
  servers_.push_back(bind_tcp());
}

void ServersTest::start_server(std::size_t server) {
  start_listening(servers_[server]);
  stopped_.erase(server);
}

void ServersTest::add_full_server() {
  stopped_.insert(servers_.size());
  servers_.push_back(listen_tcp(0));
  fill(servers_.size() - 1);
}

void ServersTest::make_room(std::size_t server) {
  start_server(server);
  accept_from(servers_[server].fd.get()).reset();
}

void ServersTest::stop_listening(std::size_t server) {
  ::shutdown(servers_[server].fd.get(), SHUT_RD);
  stopped_.insert(server);
}

std::string ServersTest::addresses() const {
  std::string text = "[";
  for (std::size_t server = 0; server < servers_.size(); ++server) {
    text += (server == 0 ? "\"" : ", \"") + address(server) + '"';
  }
  return text + "]";
}

void ServersTest::start(const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"--listen", "127.0.0.1:0",     "--engine",
                                     GetParam(), "--drain-timeout", "0"};
  for (std::size_t server = 0; server < servers_.size(); ++server) {
    arguments.insert(arguments.end(), {"--to", address(server)});
  }
  arguments.insert(arguments.end(), more.begin(), more.end());
  daemon_ = std::make_unique<Daemon>(arguments);
}

std::string ServersTest::write_file(const std::string& to, const std::string& more) const {
  return folder_.write("sluice.toml", "[defaults]\nworkers = 1\nengine = \"" + GetParam() +
                                          "\"\ndrain-timeout = \"0\"\n[[route]]\nname = \"a\"\n"
                                          "listen = \"127.0.0.1:0\"\nto = " +
                                          to + "\n" + more);
}

void ServersTest::start_with_file(const std::string& to, const std::string& more,
                                  const std::vector<std::string>& arguments) {
  std::vector<std::string> all{"--config", write_file(to, more)};
  all.insert(all.end(), arguments.begin(), arguments.end());
  daemon_ = std::make_unique<Daemon>(all);
}

Served ServersTest::accept_next(OwnedFd client) {
  Served served{std::move(client), {}, 0};
  std::vector<pollfd> ready;
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    ready.push_back({stopped_.contains(i) ? -1 : servers_[i].fd.get(), POLLIN, 0});
  }
  EXPECT_GT(::poll(ready.data(), ready.size(), 30'000), 0) << "no server got a connection";
  const auto found = std::ranges::find(ready, POLLIN, &pollfd::revents);
  if (found == ready.end()) return served;
  served.server = static_cast<std::size_t>(found - ready.begin());
  served.accepted = accept_from(found->fd);
  return served;
}

Ending ServersTest::ending_of_client() {
  const OwnedFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(daemon_->port());
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) {
    return ending_of(client.get());
  }
  EXPECT_EQ(errno, ECONNRESET);
  return Ending::reset;
}

std::map<std::size_t, int> ServersTest::served(int count) {
  std::map<std::size_t, int> counts;
  for (int i = 0; i < count; ++i) ++counts[serve_one().server];
  return counts;
}

LogFields ServersTest::summary_of(std::size_t server) {
  static_cast<void>(counters_of(*daemon_));
  return parse_text_line(line_of(daemon_->log(), " server=" + address(server) + " state="));
}

}  // namespace sluice::test
