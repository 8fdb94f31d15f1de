#include "proxy/upstream/route_totals.h"

#include <span>
#include <variant>

namespace sluice {
namespace {

RouteTotals::Bytes bytes_of(std::span<const Traffic> workers, Moved Traffic::*direction) {
  return {sum_over(workers,
                   [&](const Traffic& each) -> std::uint64_t {
                     return (each.*direction).forwarded_bytes;
                   }),
          sum_over(workers, [&](const Traffic& each) -> std::uint64_t {
            return (each.*direction).spliced_bytes;
          })};
}

RouteTotals totals_of_workers(const Route& route, std::span<const RouteCounts> counts,
                              std::span<const Traffic> traffic) {
  const auto total = [&](const auto& get) { return sum_over(counts, get); };
  RouteTotals totals;
  totals.accepted = total([](const RouteCounts& each) { return each.accepted.get(); });
  const std::uint64_t active = total([](const RouteCounts& each) { return each.active.get(); });
  // Below zero if a connection began and ended elsewhere while the workers were looked at.
  totals.active = static_cast<std::int64_t>(active) < 0 ? 0 : active;
  totals.retries = total([](const RouteCounts& each) { return each.retries.get(); });
  totals.to_upstream = bytes_of(traffic, &Traffic::to_upstream);
  // An echo's only direction moves the client's bytes to the upstream and back.
  const bool echoes =
      !route.config.to.empty() && std::holds_alternative<EchoEndpoint>(route.config.target());
  totals.to_client = echoes ? totals.to_upstream : bytes_of(traffic, &Traffic::to_client);
  return totals;
}

}  // namespace

RouteTotals totals_of(const Route& route) {
  return totals_of_workers(route, route.stats->counts, route.stats->traffic);
}

RouteTotals inherited_totals_of(const Route& route) {
  return totals_of_workers(route, std::span(route.stats->counts).last(1),
                           std::span(route.stats->traffic).last(1));
}

RouteEnds ends_of(const Route& route) {
  RouteEnds ends{};
  for (const RouteCounts& worker : route.stats->counts) {
    for (std::size_t i = 0; i < ends.size(); ++i) ends[i] += worker.ended[i];
  }
  return ends;
}

}  // namespace sluice
