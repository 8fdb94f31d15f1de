#include "proxy/upstream/route.h"

#include <cassert>
#include <random>
#include <utility>

namespace sluice {
namespace {

// A worker's retries of a route, besides a share of its connections.
constexpr std::uint64_t kRetriesPerSecond = 10;
constexpr std::uint64_t kMostRetries = 100;

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

RouteSnapshot snapshot_of(const Route& route, std::shared_ptr<RoutePicks> picks) {
  auto snapshot = std::make_shared<Route>(route);
  snapshot->servers.reset();
  snapshot->picks = std::move(picks);
  return snapshot;
}

std::unique_ptr<balance::Throttle> make_throttle(
    const Route& route, balance::SharedBandwidth RouteBandwidth::*direction) {
  const std::uint64_t own = route.config.connection_bandwidth;
  if (own == 0 && route.bandwidth == nullptr) return nullptr;
  balance::SharedBandwidth* const shared =
      route.bandwidth != nullptr ? &((*route.bandwidth).*direction) : nullptr;
  return std::make_unique<balance::Throttle>(own, shared);
}

}  // namespace

RoutePicks::RoutePicks(std::shared_ptr<const ServerSet> servers)
    : balancer(std::move(servers), balance::Random(std::random_device()())),
      retries(kRetriesPerSecond * kRetry, kMostRetries * kRetry) {}

WorkerRoutes::WorkerRoutes(std::vector<Route> routes) {
  for (Route& route : routes) {
    route.picks = std::make_shared<RoutePicks>(std::exchange(route.servers, nullptr));
    const std::size_t number = route.number;
    (*table_)[number] = std::make_shared<const Route>(std::move(route));
  }
}

const RouteSnapshot& WorkerRoutes::at(std::size_t number) const {
  auto found = table_->find(number);
  if (found != table_->end()) return found->second;
  assert(before_ != nullptr);
  found = before_->find(number);
  assert(found != before_->end());
  return found->second;
}

// A snapshot has the whole configuration of its route, so sessions keep few different ones.
void WorkerRoutes::update(const Route& route) {
  RouteSnapshot& known = table_->at(route.number);
  Balancer& balancer = known->picks->balancer;
  if (route.servers.get() != &balancer.set()) balancer.use(route.servers);
  if (route.mirrors == known->mirrors) return;
  known = snapshot_of(route, known->picks);
}

// Sessions that still connect go on with the servers that they began with.
void WorkerRoutes::change(const RouteChange& change) {
  before_ = std::exchange(table_, std::make_shared<Table>(*table_));
  for (const std::size_t number : change.removed) table_->erase(number);
  for (const Route& route : change.changed) {
    RouteSnapshot& known = (*table_)[route.number];
    // The workers set the same limit, one after the other.
    if (known != nullptr && known->bandwidth != nullptr) {
      known->bandwidth->set(route.config.route_bandwidth);
    }
    const bool same = known != nullptr && &known->picks->balancer.set() == route.servers.get();
    known = snapshot_of(route, same ? known->picks : std::make_shared<RoutePicks>(route.servers));
  }
}

std::unique_ptr<balance::Throttle> throttle_to_upstream(const Route& route) {
  return make_throttle(route, &RouteBandwidth::to_upstream);
}
std::unique_ptr<balance::Throttle> throttle_to_client(const Route& route) {
  return make_throttle(route, &RouteBandwidth::to_client);
}

Route make_route(std::size_t number, const RouteConfig& config, std::size_t workers) {
  Route route;
  route.number = number;
  route.config = config;
  route.servers = make_server_set(config);
  route.stats = std::make_shared<RouteStats>(workers);
  route.stats->capture_enabled = config.capture_enabled;
  if (config.source_connections > 0 || config.source_rate > 0) {
    route.sources = std::make_shared<balance::SourceTable>();
  }
  if (config.route_connections > 0) route.places = std::make_shared<RoutePlaces>();
  if (config.queue > 0) route.queue = std::make_shared<RouteQueue>();
  if (config.route_bandwidth > 0) {
    route.bandwidth = std::make_shared<RouteBandwidth>(config.route_bandwidth);
  }
  route.relay.traffic = route.stats->traffic.data();
  route.relay.splice = splice_mode(config.zero_copy);
  route.relay.idle_timeout = config.idle_timeout;
  route.relay.half_close_timeout = config.half_close_timeout;
  route.relay.fin_confirms = is_sink(config);
  return route;
}

}  // namespace sluice
