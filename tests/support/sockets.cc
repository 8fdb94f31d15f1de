#include "tests/support/sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <ostream>
#include <random>
#include <system_error>
#include <vector>

namespace sluice::test {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address loopback(int family, std::uint16_t port) {
  Address address;
  if (family == AF_INET6) {
    const sockaddr_in6 v6{.sin6_family = AF_INET6,
                          .sin6_port = htons(port),
                          .sin6_flowinfo = 0,
                          .sin6_addr = in6addr_loopback,
                          .sin6_scope_id = 0};
    std::memcpy(&address.storage, &v6, sizeof(v6));
    address.size = sizeof(v6);
  } else {
    const sockaddr_in v4{.sin_family = AF_INET,
                         .sin_port = htons(port),
                         .sin_addr = {htonl(INADDR_LOOPBACK)},
                         .sin_zero = {}};
    std::memcpy(&address.storage, &v4, sizeof(v4));
    address.size = sizeof(v4);
  }
  return address;
}

Address unix_address(const std::string& path) {
  sockaddr_un local{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(local.sun_path)) throw std::length_error("unix path " + path);
  std::memcpy(local.sun_path, path.c_str(), path.size() + 1);
  Address address;
  address.size = sizeof(local);
  if (path.starts_with('@')) {
    local.sun_path[0] = '\0';
    address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  }
  std::memcpy(&address.storage, &local, sizeof(local));
  return address;
}

void set_option(int fd, int level, int name, int value) {
  if (::setsockopt(fd, level, name, &value, sizeof(value)) != 0) fail("setsockopt");
}

void set_buffers(int fd, SocketOptions options) {
  if (options.send_buffer_bytes > 0) {
    set_option(fd, SOL_SOCKET, SO_SNDBUF, options.send_buffer_bytes);
  }
  if (options.receive_buffer_bytes > 0) {
    set_option(fd, SOL_SOCKET, SO_RCVBUF, options.receive_buffer_bytes);
  }
}

OwnedFd make_socket(int family, SocketOptions options) {
  OwnedFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) fail("socket");
  // Before connect or listen, because the first offered window depends on it.
  set_buffers(fd.get(), options);
  if (options.segment_bytes > 0) {
    set_option(fd.get(), IPPROTO_TCP, TCP_MAXSEG, options.segment_bytes);
  }
  if (family != AF_UNIX && options.no_delay) set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  return fd;
}

int poll_for(int fd, short events, std::chrono::nanoseconds timeout) {
  pollfd polled{.fd = fd, .events = events, .revents = 0};
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(timeout);
  int result = 0;
  do {
    result = ::poll(&polled, 1, static_cast<int>(wait.count()));
  } while (result < 0 && errno == EINTR);
  return result;
}

}  // namespace

Listener bind_tcp(SocketOptions options, int family) {
  Listener listener{.fd = make_socket(family, options)};
  const Address address = loopback(family, 0);
  if (::bind(listener.fd.get(), address.get(), address.size) != 0) fail("bind");
  listener.port = local_port(listener.fd.get());
  return listener;
}

void start_listening(const Listener& listener, int backlog) {
  if (::listen(listener.fd.get(), backlog) != 0) fail("listen");
}

Listener listen_tcp(int backlog, SocketOptions options, int family) {
  Listener listener = bind_tcp(options, family);
  start_listening(listener, backlog);
  return listener;
}

OwnedFd listen_unix(const std::string& path) {
  OwnedFd fd = make_socket(AF_UNIX, {});
  const Address address = unix_address(path);
  if (::bind(fd.get(), address.get(), address.size) != 0) fail("bind " + path);
  if (::listen(fd.get(), 128) != 0) fail("listen " + path);
  return fd;
}

OwnedFd connect_tcp(std::uint16_t port, SocketOptions options, int family) {
  OwnedFd fd = make_socket(family, options);
  const Address address = loopback(family, port);
  if (::connect(fd.get(), address.get(), address.size) != 0) {
    fail("connect to port " + std::to_string(port));
  }
  return fd;
}

OwnedFd connect_unix(const std::string& path) {
  OwnedFd fd = make_socket(AF_UNIX, {});
  const Address address = unix_address(path);
  if (::connect(fd.get(), address.get(), address.size) != 0) fail("connect to " + path);
  return fd;
}

int try_connect(std::uint16_t port) {
  const OwnedFd fd = make_socket(AF_INET, {});
  const Address address = loopback(AF_INET, port);
  return ::connect(fd.get(), address.get(), address.size) == 0 ? 0 : errno;
}

OwnedFd accept_from(int listener, std::chrono::nanoseconds timeout, SocketOptions options) {
  if (!readable_within(listener, timeout)) {
    errno = ETIMEDOUT;
    fail("accept");
  }
  OwnedFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) fail("accept");
  if (options.no_delay) {
    const int on = 1;
    // A listener may not be TCP; a unix socket answers EOPNOTSUPP.
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  set_buffers(fd.get(), options);
  return fd;
}

bool readable_within(int fd, std::chrono::nanoseconds timeout) {
  return poll_for(fd, POLLIN, timeout) == 1;
}

bool writable_within(int fd, std::chrono::nanoseconds timeout) {
  return poll_for(fd, POLLOUT, timeout) == 1;
}

std::uint16_t free_port() {
  std::random_device device;
  // Linux hands out 32768 to 60999 by default, so no passing connect takes a port below.
  std::uniform_int_distribution<int> any(15'000, 32'000);
  for (int tries = 0; tries < 1000; ++tries) {
    const auto port = static_cast<std::uint16_t>(any(device));
    const OwnedFd fd = make_socket(AF_INET, {});
    const Address address = loopback(AF_INET, port);
    if (::bind(fd.get(), address.get(), address.size) == 0) return port;
  }
  fail("no free port");
}

std::uint16_t local_port(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) fail("getsockname");
  // sin_port and sin6_port lie at the same place.
  sockaddr_in v4{};
  std::memcpy(&v4, &storage, sizeof(v4));
  return ntohs(v4.sin_port);
}

void reset(OwnedFd fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) != 0) {
    fail("SO_LINGER");
  }
}

void finish_sending(int fd) {
  if (::shutdown(fd, SHUT_WR) != 0) fail("shutdown");
}

void set_nonblocking(int fd, bool enabled) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (::fcntl(fd, F_SETFL, enabled ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) != 0) fail("fcntl");
}

std::size_t unacknowledged_bytes(int fd) {
  int bytes = 0;
  if (::ioctl(fd, SIOCOUTQ, &bytes) != 0) fail("SIOCOUTQ");
  return static_cast<std::size_t>(bytes);
}

void PrintTo(Ending ending, std::ostream* out) {
  constexpr std::array kNames{"open", "eof", "reset", "timed out"};
  *out << kNames.at(static_cast<std::size_t>(ending));
}

Received receive_some(int fd, std::span<std::byte> into, std::chrono::nanoseconds timeout) {
  for (;;) {
    if (poll_for(fd, POLLIN, timeout) != 1) return {0, Ending::timed_out};
    const ssize_t got = ::recv(fd, into.data(), into.size(), MSG_DONTWAIT);
    if (got > 0) return {static_cast<std::size_t>(got), Ending::open};
    if (got == 0) return {0, Ending::eof};
    if (errno == ECONNRESET || errno == EPIPE) return {0, Ending::reset};
    if (errno != EAGAIN && errno != EINTR) fail("recv");
  }
}

bool send_all(int fd, std::span<const std::byte> bytes, std::chrono::nanoseconds timeout) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (poll_for(fd, POLLOUT, timeout) != 1) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool send_all(int fd, std::string_view text) {
  return send_all(fd, std::as_bytes(std::span(text)));
}

bool send_pattern(int fd, Pattern pattern, std::uint64_t offset, std::uint64_t size_bytes) {
  std::vector<std::byte> chunk(
      static_cast<std::size_t>(std::min<std::uint64_t>(size_bytes, 1 << 18)));
  for (const std::uint64_t end = offset + size_bytes; offset < end;) {
    const auto part = std::span(chunk).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), end - offset)));
    pattern.fill(offset, part);
    if (!send_all(fd, part)) return false;
    offset += part.size();
  }
  return true;
}

std::uint64_t send_until_full(int fd, Pattern pattern, std::uint64_t limit_bytes,
                              std::chrono::milliseconds lull, std::uint64_t offset) {
  std::vector<std::byte> chunk(1 << 16);
  std::uint64_t sent_bytes = 0;
  while (sent_bytes < limit_bytes) {
    const auto part = std::span(chunk).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), limit_bytes - sent_bytes)));
    pattern.fill(offset + sent_bytes, part);
    const ssize_t sent = ::send(fd, part.data(), part.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      sent_bytes += static_cast<std::uint64_t>(sent);
    } else if (errno != EAGAIN || poll_for(fd, POLLOUT, lull) != 1) {
      break;
    }
  }
  return sent_bytes;
}

Ending read_pattern(int fd, PatternChecker& checker, ReadOptions options) {
  std::vector<std::byte> chunk(options.read_bytes);
  while (checker.received_bytes() < options.stop_after_bytes) {
    const auto part = std::span(chunk).first(static_cast<std::size_t>(std::min<std::uint64_t>(
        chunk.size(), options.stop_after_bytes - checker.received_bytes())));
    const Received received = receive_some(fd, part, options.timeout);
    if (received.ending != Ending::open) return received.ending;
    checker.take(part.first(received.bytes));
  }
  return Ending::open;
}

std::string receive_text(int fd, std::size_t count, std::chrono::nanoseconds timeout) {
  std::string text(count, '\0');
  std::size_t size = 0;
  while (size < count) {
    const Received received =
        receive_some(fd, std::as_writable_bytes(std::span(text)).subspan(size), timeout);
    if (received.ending != Ending::open) break;
    size += received.bytes;
  }
  text.resize(size);
  return text;
}

}  // namespace sluice::test
