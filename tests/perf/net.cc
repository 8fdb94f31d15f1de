#include "tests/perf/net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice::perf {
namespace {

// Longer than any proxy's own retry after a refused or lost attempt.
constexpr int kAcceptTimeoutMs = 20'000;
constexpr int kBacklog = 4096;
constexpr std::size_t kEventsAtOnce = 256;

sockaddr_in loopback(std::uint16_t port, std::uint32_t address = INADDR_LOOPBACK) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  result.sin_addr.s_addr = htonl(address);
  return result;
}

const sockaddr* generic(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

void set_option(int fd, int level, int name, const char* what) {
  const int on = 1;
  if (::setsockopt(fd, level, name, &on, sizeof on) != 0) fail_errno(what);
}

}  // namespace

void fail_errno(const std::string& call) {
  const int error = errno;
  throw Failure(call + ": " + std::strerror(error));
}

OwnedFd listen_on(std::uint16_t port) {
  OwnedFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) fail_errno("socket");
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR");
  const sockaddr_in address = loopback(port);
  if (::bind(fd.get(), generic(address), sizeof address) != 0) {
    fail_errno("bind to port " + std::to_string(port));
  }
  if (::listen(fd.get(), kBacklog) != 0) fail_errno("listen");
  return fd;
}

std::uint16_t local_port(int fd) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    fail_errno("getsockname");
  }
  return ntohs(address.sin_port);
}

OwnedFd connect_to(std::uint16_t port, std::uint32_t source) {
  OwnedFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) fail_errno("socket");
  if (source != 0) {
    set_option(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT");
    const sockaddr_in address = loopback(0, source);
    if (::bind(fd.get(), generic(address), sizeof address) != 0) fail_errno("bind source");
  }
  set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
  const sockaddr_in address = loopback(port);
  if (::connect(fd.get(), generic(address), sizeof address) != 0) fail_errno("connect");
  return fd;
}

OwnedFd accept_queued(int listener) {
  for (;;) {
    OwnedFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
      return fd;
    }
    if (errno == EAGAIN) return fd;
    if (errno != EINTR && errno != ECONNABORTED) fail_errno("accept");
  }
}

void set_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) fail_errno("fcntl");
}

Pairs connect_pairs(int listener, std::uint16_t port, std::size_t count) {
  Pairs pairs;
  for (std::size_t i = 0; i < count; ++i) {
    pairs.clients.push_back(connect_to(port));
    set_nonblocking(pairs.clients.back().get());
    // One at a time: no backlog overflows, whatever the number, and the pairs stay in order.
    pollfd waiting{listener, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, kAcceptTimeoutMs);
    if (ready < 0) fail_errno("poll");
    if (ready == 0) {
      throw Failure("connection " + std::to_string(i) + " never reached the backend");
    }
    pairs.backends.push_back(accept_queued(listener));
    if (!pairs.backends.back()) throw Failure("accept: woken without a connection");
  }
  return pairs;
}

std::size_t send_some(int fd, const char* data, std::size_t size, const char* who) {
  const ssize_t n = ::send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n >= 0) return static_cast<std::size_t>(n);
  if (errno == EAGAIN || errno == EINTR) return 0;
  fail_errno(std::string(who) + ": send");
}

Received receive_some(int fd, char* data, std::size_t size, const char* who) {
  const ssize_t n = ::recv(fd, data, size, MSG_DONTWAIT);
  if (n > 0) return {static_cast<std::size_t>(n), false};
  if (n == 0) return {0, true};
  if (errno == EAGAIN || errno == EINTR) return {};
  fail_errno(std::string(who) + ": recv");
}

Epoll::Epoll() : fd_(::epoll_create1(EPOLL_CLOEXEC)), events_(kEventsAtOnce) {
  if (!fd_) fail_errno("epoll_create1");
}

void Epoll::add(int fd, std::uint32_t events, std::uint64_t index) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = index;
  if (::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) != 0) fail_errno("epoll_ctl add");
}

void Epoll::modify(int fd, std::uint32_t events, std::uint64_t index) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = index;
  if (::epoll_ctl(fd_.get(), EPOLL_CTL_MOD, fd, &event) != 0) fail_errno("epoll_ctl mod");
}

Epoll::Events Epoll::wait(int timeout_ms) {
  const int count =
      ::epoll_wait(fd_.get(), events_.data(), static_cast<int>(events_.size()), timeout_ms);
  if (count < 0 && errno != EINTR) fail_errno("epoll_wait");
  return {events_.data(), events_.data() + (count > 0 ? count : 0)};
}

}  // namespace sluice::perf
