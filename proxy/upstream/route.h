#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "iolib/balance/source_table.h"
#include "iolib/balance/token_bucket.h"
#include "iolib/base/endpoint.h"
#include "iolib/relay/relay.h"
#include "proxy/config/config.h"
#include "proxy/log/stats.h"
#include "proxy/upstream/balancer.h"
#include "proxy/upstream/route_bandwidth.h"
#include "proxy/upstream/route_places.h"
#include "proxy/upstream/route_queue.h"
#include "proxy/upstream/server_set.h"

namespace sluice {

/// A server that gets a copy of what clients send.
struct MirrorTarget {
  std::string address;  ///< as configured; it names the mirror in a worker
  std::vector<Endpoint> endpoints;
  friend bool operator==(const MirrorTarget&, const MirrorTarget&) = default;
};

class FileThread;

/// What a worker uses to pick the servers of a route. Belongs to its thread.
struct RoutePicks {
  /// Tokens of `retries` are thousandths of a retry.
  static constexpr std::uint64_t kRetry = 1'000;
  static constexpr std::uint64_t kRetryShare = kRetry / 5;

  explicit RoutePicks(std::shared_ptr<const ServerSet> servers);
  Balancer balancer;
  /// Pays for the retries and hedges of the route's connects, so that they cannot multiply the
  /// connects while all servers are down. Each connection adds kRetryShare.
  balance::TokenBucket retries;
};

/// A route as sessions use it: a snapshot that never changes. A session keeps the one that it began
/// with. Each worker has its own copies, so that their reference counts are not shared between
/// threads.
struct Route {
  std::size_t number = 0;  ///< stays the same when the route changes; never reused
  RouteConfig config;      ///< with the numbers of the routes that its matches choose
  RelayOptions relay;
  /// Its servers at this moment. Null in the snapshots of sessions, which keep only their own
  /// server.
  std::shared_ptr<const ServerSet> servers;
  std::vector<MirrorTarget> mirrors;
  std::shared_ptr<RouteStats> stats;  ///< shared by all copies of the route
  /// Reads the route's file; null if it sends none. Shared by all copies of the route. One per
  /// route, so that a hanging mount blocks only the routes on it.
  std::shared_ptr<FileThread> files;
  /// Counts the connections of each source; null if nothing limits them. Shared by all copies of
  /// the route.
  std::shared_ptr<balance::SourceTable> sources;
  /// Null if the number of its connections has no limit. Shared by all copies of the route.
  std::shared_ptr<RoutePlaces> places;
  /// Where its connections wait for a place; null if it has never had a queue. Shared by all copies
  /// of the route.
  std::shared_ptr<RouteQueue> queue;
  /// Null if the bandwidth of the route has no limit. Shared by all copies of the route.
  std::shared_ptr<RouteBandwidth> bandwidth;
  std::shared_ptr<RoutePicks> picks;  ///< the worker's; null in copies that no worker has

  /// A name can stand for several, even if it does not at the moment.
  [[nodiscard]] bool has_several_servers() const {
    return config.to.size() > 1 || names_servers(config.target());
  }
  /// A place of the route or of a server may have become free.
  void wake_queue() const {
    if (queue != nullptr) queue->wake();
  }
  /// Whether its connections are recorded or mirrored. They stay with the worker where they begin.
  [[nodiscard]] bool tapped() const { return !config.capture.empty() || !mirrors.empty(); }
};
using RouteSnapshot = std::shared_ptr<const Route>;

/// How the routes change at a reload. All workers read the same one.
struct RouteChange {
  std::vector<Route> changed;        ///< with the new ones
  std::vector<std::size_t> removed;  ///< their numbers
};

/// The routes of one worker, by number. Belongs to its thread.
class WorkerRoutes {
 public:
  using Table = std::unordered_map<std::size_t, RouteSnapshot>;

  explicit WorkerRoutes(std::vector<Route> routes);
  /// One that has been removed counts as long as it may be used: see forget_removed().
  [[nodiscard]] const RouteSnapshot& at(std::size_t number) const;
  /// Whether at() has it.
  [[nodiscard]] bool knows(std::size_t number) const {
    return has(number) || (before_ != nullptr && before_->contains(number));
  }
  /// Whether there is one, and it has not been removed.
  [[nodiscard]] bool has(std::size_t number) const { return table_->contains(number); }
  /// The routes beside this one. A session holds them while it chooses one.
  [[nodiscard]] std::shared_ptr<const Table> table_of(const Route& route) const {
    return before_ == nullptr || has(route.number) ? table_ : before_;
  }
  /// The route has other servers or mirrors, which new connections use.
  void update(const Route& route);
  /// New connections use these routes.
  void change(const RouteChange& change);
  /// Nobody has the number of a route any more that the last change removed.
  void forget_removed() { before_.reset(); }

 private:
  std::shared_ptr<Table> table_ = std::make_shared<Table>();
  std::shared_ptr<Table> before_;  ///< before the last change; null if that is over
};

/// A route without the servers of names, for this many workers.
[[nodiscard]] Route make_route(std::size_t number, const RouteConfig& config,
                               std::size_t workers = 1);

/// Whether the route ends a connection in order only once everything that it received is durable.
[[nodiscard]] inline bool is_sink(const RouteConfig& route) {
  return !route.capture.empty() && std::holds_alternative<DiscardEndpoint>(route.target());
}

/// The most addresses of one name that are kept and tried. A session could not try more within its
/// time.
inline constexpr std::size_t kMaxUpstreamAddresses = 16;

}  // namespace sluice
