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

  /// Its connections are recorded or mirrored, and stay with the worker that they begin with.
  [[nodiscard]] bool tapped() const { return !config.capture.empty() || !mirrors.empty(); }
};
using RouteSnapshot = std::shared_ptr<const Route>;

/// The routes of one worker, by number, and which address of each connected last.
class WorkerRoutes {
 public:
  explicit WorkerRoutes(std::vector<Route> routes);
  [[nodiscard]] const RouteSnapshot& at(std::size_t index) const { return routes_[index].snapshot; }
  /// New connections go to these addresses.
  void update(const Route& route);
  /// The address to begin with.
  [[nodiscard]] std::size_t preferred(const Route& route) const {
    return routes_[route.index].preferred;
  }
  /// It connected. No effect for an older snapshot, whose addresses may be others than today's.
  void prefer(const Route& route, std::size_t upstream);

 private:
  struct Entry {
    RouteSnapshot snapshot;
    std::size_t preferred = 0;
  };
  std::vector<Entry> routes_;
};

[[nodiscard]] Route make_route(std::size_t index, const RouteConfig& config);

/// It ends a connection in order only once all that it received is durable.
[[nodiscard]] inline bool is_sink(const RouteConfig& route) {
  return !route.capture.empty() && std::holds_alternative<DiscardEndpoint>(route.to);
}

/// Addresses of one name that are tried, and kept: more than this no session could try in its time.
inline constexpr std::size_t kMaxUpstreamAddresses = 16;

}  // namespace sluice
