#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/relay/relay.h"
#include "proxy/config.h"

namespace sluice {

/// Where an upstream listens, as connect(2) takes it.
struct Endpoint {
  sockaddr_storage address{};
  socklen_t size_bytes = 0;
  Leg::Kind kind = Leg::Kind::tcp;
  std::string text;  ///< for the log
  friend bool operator==(const Endpoint& a, const Endpoint& b) { return a.text == b.text; }
};
/// Lets a TCP socket, of which one end is at `address`, use the congestion control that suits it:
/// on loopback there is no bottleneck to probe for, and one that paces (bbr) only makes both ends
/// idle; reno, which every kernel has, does not. No effect elsewhere.
void choose_congestion_control(int fd, const sockaddr* address);
[[nodiscard]] Endpoint make_endpoint(const SocketAddress& address);
[[nodiscard]] Endpoint make_endpoint(const UnixEndpoint& address);

/// A route as sessions use it: a snapshot that never changes. A session keeps the one that it began
/// with; each worker has copies of its own, so that counting references shares nothing.
struct Route {
  std::size_t index = 0;  ///< in the configuration
  RouteConfig config;
  RelayOptions relay;
  std::vector<Endpoint>
      upstreams;  ///< all addresses, to be tried in turn; empty where none is needed
};
using RouteSnapshot = std::shared_ptr<const Route>;

[[nodiscard]] Route make_route(std::size_t index, const RouteConfig& config);

/// Addresses of one name that are tried, and kept: more than this no session could try in its time.
inline constexpr std::size_t kMaxUpstreamAddresses = 16;

}  // namespace sluice
