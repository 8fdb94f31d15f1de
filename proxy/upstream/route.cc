#include "proxy/upstream/route.h"

#include <utility>

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

}  // namespace

WorkerRoutes::WorkerRoutes(std::vector<Route> routes) {
  for (Route& route : routes) routes_.push_back({std::make_shared<const Route>(std::move(route))});
}

void WorkerRoutes::update(const Route& route) {
  routes_[route.index] = {std::make_shared<const Route>(route)};
}

void WorkerRoutes::prefer(const Route& route, std::size_t upstream) {
  Entry& entry = routes_[route.index];
  if (entry.snapshot.get() == &route) entry.preferred = upstream;
}

Route make_route(std::size_t index, const RouteConfig& config) {
  Route route;
  route.index = index;
  route.config = config;
  route.relay.splice = splice_mode(config.zero_copy);
  route.relay.idle_timeout = config.idle_timeout;
  route.relay.half_close_timeout = config.half_close_timeout;
  route.relay.fin_confirms = is_sink(config);
  return route;
}

}  // namespace sluice
