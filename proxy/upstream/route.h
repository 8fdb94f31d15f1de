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
  std::string address;  ///< as configured; it names the mirror in a worker
  std::vector<Endpoint> endpoints;
};

/// A route as sessions use it: a snapshot that never changes. A session keeps the one that it began
/// with. Each worker has its own copies, so that reference counts are not shared between threads.
struct Route {
  std::size_t index = 0;  ///< index in the configuration
  RouteConfig config;
  RelayOptions relay;
  std::vector<Endpoint> upstreams;  ///< all addresses, in the order to try; empty if none is needed
  std::vector<MirrorTarget> mirrors;

  /// Whether its connections are recorded or mirrored. They stay with the worker where they begin.
  [[nodiscard]] bool tapped() const { return !config.capture.empty() || !mirrors.empty(); }
};
using RouteSnapshot = std::shared_ptr<const Route>;

/// The routes of one worker, by number, and the address of each that connected last.
class WorkerRoutes {
 public:
  explicit WorkerRoutes(std::vector<Route> routes);
  [[nodiscard]] const RouteSnapshot& at(std::size_t index) const { return routes_[index].snapshot; }
  /// New connections use this snapshot.
  void update(const Route& route);
  /// The index of the address to try first.
  [[nodiscard]] std::size_t preferred(const Route& route) const {
    return routes_[route.index].preferred;
  }
  /// This address connected: try it first from now on. Has no effect for an outdated snapshot,
  /// whose addresses may differ.
  void prefer(const Route& route, std::size_t upstream);

 private:
  struct Entry {
    RouteSnapshot snapshot;
    std::size_t preferred = 0;
  };
  std::vector<Entry> routes_;
};

[[nodiscard]] Route make_route(std::size_t index, const RouteConfig& config);

/// Whether the route ends a connection in order only once everything that it received is durable.
[[nodiscard]] inline bool is_sink(const RouteConfig& route) {
  return !route.capture.empty() && std::holds_alternative<DiscardEndpoint>(route.to);
}

/// The most addresses of one name that are kept and tried. A session could not try more within its
/// time.
inline constexpr std::size_t kMaxUpstreamAddresses = 16;

}  // namespace sluice
