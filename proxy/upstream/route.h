#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "iolib/base/endpoint.h"
#include "iolib/relay/relay.h"
#include "proxy/config/config.h"

namespace sluice {

/// A server that gets a copy of what clients send.
struct MirrorTarget {
  std::string address;  ///< as it was given: the mirror's name in a worker
  std::vector<Endpoint> endpoints;
};

/// A route as sessions use it: a snapshot that never changes. A session keeps the one that it began
/// with; each worker has copies of its own, so that counting references shares nothing.
struct Route {
  std::size_t index = 0;  ///< in the configuration
  RouteConfig config;
  RelayOptions relay;
  std::vector<Endpoint>
      upstreams;  ///< all addresses, to be tried in turn; empty where none is needed
  std::vector<MirrorTarget> mirrors;
};
using RouteSnapshot = std::shared_ptr<const Route>;

[[nodiscard]] Route make_route(std::size_t index, const RouteConfig& config);

/// It ends a connection in order only once all that it received is durable.
[[nodiscard]] inline bool is_sink(const RouteConfig& route) {
  return !route.capture.empty() && std::holds_alternative<DiscardEndpoint>(route.to);
}

/// Addresses of one name that are tried, and kept: more than this no session could try in its time.
inline constexpr std::size_t kMaxUpstreamAddresses = 16;

}  // namespace sluice
