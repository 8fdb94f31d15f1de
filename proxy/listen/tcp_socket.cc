#include "proxy/listen/tcp_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

#include "iolib/base/endpoint.h"
#include "proxy/upstream/resolve.h"

namespace sluice {
namespace {

void set_option(int fd, int level, int option, int value) {
  static_cast<void>(::setsockopt(fd, level, option, &value, sizeof value));
}

SocketAddress any_v4(std::uint16_t port) {
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(port);
  return SocketAddress(any);
}

SocketAddress any_v6(std::uint16_t port) {
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port);
  return SocketAddress(any);
}

bool is_any(const SocketAddress& address) {
  return address == any_v4(address.port()) || address == any_v6(address.port());
}

// Whether this machine lacks the address or its family.
bool is_lacking(const Error& error) {
  return error.code == EADDRNOTAVAIL || error.code == EAFNOSUPPORT;
}

// Opens `:PORT` with `open`: one socket for IPv6 and IPv4, or IPv4 alone if there is no IPv6.
Result<> open_any(std::uint16_t port, const std::function<Result<>(const TcpPlace&)>& open) {
  const Result<> both = open(TcpPlace{any_v6(port), true});
  if (both.has_value() || both.error().code != EAFNOSUPPORT) return both;
  return open(TcpPlace{any_v4(port)});
}

// Opens all addresses of a name with `open`, except those that this machine lacks, if it has at
// least one. (A hosts file can list ::1 while IPv6 is off.) Returns the error of each address
// passed over.
Result<std::vector<Error>> open_name(const HostPort& name,
                                     const std::function<Result<>(const TcpPlace&)>& open) {
  const Result<std::vector<SocketAddress>> addresses = resolve(name, true);
  if (addresses.has_error()) return addresses.error();
  std::vector<Error> lacking;
  for (const SocketAddress& each : *addresses) {
    const Result<> opened = open(TcpPlace{each});
    if (opened.has_value()) continue;
    if (!is_lacking(opened.error())) return opened.error();
    lacking.push_back(opened.error());
  }
  if (lacking.size() == addresses->size() && !lacking.empty()) return lacking.front();
  return lacking;
}

}  // namespace

bool exclude_each_other(const TcpPlace& a, const TcpPlace& b) {
  if (a.address.port() != b.address.port() || a.address.port() == 0) return false;
  if (a.address.family() != b.address.family()) return a.both_families || b.both_families;
  return a.address == b.address || is_any(a.address) || is_any(b.address);
}

void set_accepted_options(int fd, const SocketAddress& address, Congestion congestion) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  // Urgent data stays in line.
  set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
  if (congestion == Congestion::automatic) choose_congestion_control(fd, address.data());
}

void set_congestion(int fd, const SocketAddress& address, Congestion congestion) {
  if (congestion == Congestion::automatic) return choose_congestion_control(fd, address.data());
  // A new socket has that of the system.
  const OwnedFd fresh(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_congestion(fd, accepted_options(fresh.get()).congestion);
}

void set_congestion(int fd, const std::string& name) {
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(),
                                 static_cast<socklen_t>(name.size())));
}

AcceptedOptions accepted_options(int fd) {
  AcceptedOptions options;
  linger on_close{};
  socklen_t size = sizeof on_close;
  const bool known = ::getsockopt(fd, SOL_SOCKET, SO_LINGER, &on_close, &size) == 0;
  options.resets = known && on_close.l_onoff != 0 && on_close.l_linger == 0;
  char name[17] = {};
  size = sizeof name - 1;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0) options.congestion = name;
  return options;
}

Result<OwnedFd> bind_tcp(const TcpPlace& place, Sharing sharing, Congestion congestion) {
  const SocketAddress& address = place.address;
  const std::string name = address.to_string();
  OwnedFd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("socket for " + name);
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (sharing == Sharing::reuse_port) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (address.family() == AF_INET6) {
    set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, place.both_families ? 0 : 1);
  }
  set_accepted_options(fd.get(), address, congestion);
  if (::bind(fd.get(), address.data(), address.size_bytes()) != 0) {
    return errno_error("bind " + name);
  }
  return fd;
}

Result<> find_free(const TcpPlace& place) {
  const Result<OwnedFd> probe = bind_tcp(place, Sharing::alone, Congestion::system);
  if (probe.has_error()) return probe.error();
  return {};
}

Result<std::vector<Error>> open_each(const HostPort& address,
                                     const std::function<Result<>(const TcpPlace&)>& open) {
  const Result<SocketAddress> numeric = numeric_address(address);
  if (!address.host.empty() && numeric.has_error()) return open_name(address, open);
  const Result<> opened =
      address.host.empty() ? open_any(address.port, open) : open(TcpPlace{*numeric});
  if (opened.has_error()) return opened.error();
  return std::vector<Error>();
}

}  // namespace sluice
