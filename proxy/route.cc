#include "proxy/route.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cstring>
#include <string_view>

namespace sluice {
namespace {

SpliceMode splice_mode(ZeroCopy zero_copy) {
  switch (zero_copy) {
    case ZeroCopy::always:
      return SpliceMode::always;
    case ZeroCopy::never:
      return SpliceMode::never;
    case ZeroCopy::automatic:
      break;
  }
  return SpliceMode::automatic;
}

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    return (ntohl(v4.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
  }
  if (address->sa_family != AF_INET6) return false;
  sockaddr_in6 v6{};
  std::memcpy(&v6, address, sizeof v6);
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) != 0;
}

}  // namespace

void choose_congestion_control(int fd, const sockaddr* address) {
  if (!is_loopback(address)) return;
  constexpr std::string_view kUnpaced = "reno";
  static_cast<void>(
      ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kUnpaced.data(), kUnpaced.size()));
}

Endpoint make_endpoint(const SocketAddress& address) {
  Endpoint endpoint;
  std::memcpy(&endpoint.address, address.data(), address.size_bytes());
  endpoint.size_bytes = address.size_bytes();
  endpoint.text = address.to_string();
  return endpoint;
}

Endpoint make_endpoint(const UnixEndpoint& address) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  // The parser has seen to it that the path fits, with its NUL.
  std::memcpy(&name.sun_path, address.path.c_str(), address.path.size() + 1);
  Endpoint endpoint;
  std::memcpy(&endpoint.address, &name, sizeof name);
  endpoint.size_bytes = sizeof name;
  endpoint.kind = Leg::Kind::unix_stream;
  endpoint.text = "unix:" + address.path;
  return endpoint;
}

Route make_route(std::size_t index, const RouteConfig& config) {
  Route route;
  route.index = index;
  route.config = config;
  route.relay.splice = splice_mode(config.zero_copy);
  route.relay.idle_timeout = config.idle_timeout;
  route.relay.half_close_timeout = config.half_close_timeout;
  if (const auto* unix_path = std::get_if<UnixEndpoint>(&config.to)) {
    route.upstreams.push_back(make_endpoint(*unix_path));
  }
  return route;
}

}  // namespace sluice
