#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "iolib/balance/token_bucket.h"
#include "iolib/base/endpoint.h"
#include "iolib/relay/relay.h"
#include "proxy/config/config.h"
#include "proxy/log/stats.h"
#include "proxy/upstream/balancer.h"
#include "proxy/upstream/server_set.h"

namespace sluice {

/// A server that gets a copy of what clients send.
struct MirrorTarget {
  std::string address;  ///< as configured; it names the mirror in a worker
  std::vector<Endpoint> endpoints;
  friend bool operator==(const MirrorTarget&, const MirrorTarget&) = default;
};

/// A route as sessions use it: a snapshot that never changes. A session keeps the one that it began
/// with. Each worker has its own copies, so that their reference counts are not shared between
/// threads.
struct Route {
  std::size_t index = 0;  ///< index in the configuration
  RouteConfig config;
  RelayOptions relay;
  /// Its servers at this moment. Null in the snapshots of sessions, which keep only their own
  /// server.
  std::shared_ptr<const ServerSet> servers;
  std::vector<MirrorTarget> mirrors;
  std::shared_ptr<RouteStats> stats;  ///< shared by all copies of the route

  /// A name can stand for several, even if it does not at the moment.
  [[nodiscard]] bool has_several_servers() const {
    return config.to.size() > 1 || names_servers(config.target());
  }
  /// Whether its connections are recorded or mirrored. They stay with the worker where they begin.
  [[nodiscard]] bool tapped() const { return !config.capture.empty() || !mirrors.empty(); }
};
using RouteSnapshot = std::shared_ptr<const Route>;

/// The routes of one worker, by number, and what it uses to pick their servers.
class WorkerRoutes {
 public:
  explicit WorkerRoutes(std::vector<Route> routes);
  [[nodiscard]] const RouteSnapshot& at(std::size_t index) const { return routes_[index].snapshot; }
  /// New connections use this snapshot and its servers.
  void update(const Route& route);
  [[nodiscard]] Balancer& balancer(const Route& route) { return routes_[route.index].balancer; }
  /// Pays for the retries and hedges of this route's connects, so that they cannot multiply the
  /// connects while all servers are down. Each connection adds kRetryShare.
  [[nodiscard]] balance::TokenBucket& retries(const Route& route) {
    return routes_[route.index].retries;
  }

  /// Tokens are thousandths of a retry.
  static constexpr std::uint64_t kRetry = 1'000;
  static constexpr std::uint64_t kRetryShare = kRetry / 5;

 private:
  struct Entry {
    RouteSnapshot snapshot;
    Balancer balancer;
    balance::TokenBucket retries;
  };
  std::vector<Entry> routes_;
};

/// A route without the servers of names, for this many workers.
[[nodiscard]] Route make_route(std::size_t index, const RouteConfig& config,
                               std::size_t workers = 1);

/// Whether the route ends a connection in order only once everything that it received is durable.
[[nodiscard]] inline bool is_sink(const RouteConfig& route) {
  return !route.capture.empty() && std::holds_alternative<DiscardEndpoint>(route.target());
}

/// The most addresses of one name that are kept and tried. A session could not try more within its
/// time.
inline constexpr std::size_t kMaxUpstreamAddresses = 16;

}  // namespace sluice
