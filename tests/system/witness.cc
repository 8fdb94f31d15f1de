#include "tests/system/witness.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <system_error>

#include "tests/support/daemon.h"

namespace sluice::test {
namespace {

struct Ends {
  OwnedFd client;
  OwnedFd target;
};

/// Runs until one direction ends. If one end is broken, it breaks the other.
void pump(int from, int to, std::string& log) {
  std::vector<char> buffer(1 << 16);
  for (;;) {
    const ssize_t got = ::recv(from, buffer.data(), buffer.size(), 0);
    if (got == 0) {
      ::shutdown(to, SHUT_WR);
      return;
    }
    if (got > 0) log.append(buffer.data(), static_cast<std::size_t>(got));
    if (got < 0 || !send_all(to, std::string_view(buffer.data(), static_cast<std::size_t>(got)))) {
      ::shutdown(from, SHUT_RDWR);
      ::shutdown(to, SHUT_RDWR);
      return;
    }
  }
}

}  // namespace

Witness::Witness(std::uint16_t target)
    : target_(target), stop_(::eventfd(0, EFD_CLOEXEC)), server_([this] { serve(); }) {}

Witness::~Witness() { static_cast<void>(end()); }

const std::list<Witness::Connection>& Witness::end() {
  if (server_.joinable()) {
    ::eventfd_write(stop_.get(), 1);
    server_.join();
    pumps_.clear();
  }
  return connections_;
}

void Witness::serve() {
  std::array<pollfd, 2> polled{{{listener_.fd.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
  while (::poll(polled.data(), polled.size(), -1) > 0 && polled[0].revents != 0) {
    auto ends = std::make_shared<Ends>();
    ends->client = accept_from(listener_.fd.get());
    try {
      ends->target = connect_tcp(target_);
    } catch (const std::system_error&) {
      continue;
    }
    Connection& connection = connections_.emplace_back();
    connection.address = loopback_address(local_port(ends->target.get()));
    pumps_.emplace_back(
        [ends, &log = connection.sent] { pump(ends->client.get(), ends->target.get(), log); });
    pumps_.emplace_back(
        [ends, &log = connection.received] { pump(ends->target.get(), ends->client.get(), log); });
  }
}

}  // namespace sluice::test
