#include "proxy/upstream/route.h"

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

}  // namespace

WorkerRoutes::WorkerRoutes(std::vector<Route> routes) {
  std::random_device entropy;
  for (Route& route : routes) {
    Balancer balancer(std::exchange(route.servers, nullptr), balance::Random(entropy()));
    routes_.push_back({std::make_shared<const Route>(std::move(route)), std::move(balancer),
                       balance::TokenBucket(kRetriesPerSecond * kRetry, kMostRetries * kRetry)});
  }
}

// A snapshot has the whole configuration of its route, so sessions keep few different ones.
void WorkerRoutes::update(const Route& route) {
  Entry& entry = routes_[route.index];
  if (route.servers.get() != &entry.balancer.set()) entry.balancer.use(route.servers);
  if (route.mirrors == entry.snapshot->mirrors) return;
  auto snapshot = std::make_shared<Route>(route);
  snapshot->servers.reset();
  entry.snapshot = std::move(snapshot);
}

Route make_route(std::size_t index, const RouteConfig& config, std::size_t workers) {
  Route route;
  route.index = index;
  route.config = config;
  route.servers = make_server_set(config);
  route.stats = std::make_shared<RouteStats>(workers);
  route.stats->capture_enabled = config.capture_enabled;
  route.relay.traffic = route.stats->traffic.data();
  route.relay.splice = splice_mode(config.zero_copy);
  route.relay.idle_timeout = config.idle_timeout;
  route.relay.half_close_timeout = config.half_close_timeout;
  route.relay.fin_confirms = is_sink(config);
  return route;
}

}  // namespace sluice
