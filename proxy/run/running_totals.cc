#include "proxy/run/running_totals.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/log/ending.h"
#include "proxy/log/stats.h"
#include "proxy/upstream/route_totals.h"

namespace sluice {
namespace {

using takeover::Counted;
using takeover::Totals;
using Numbers = std::vector<std::uint64_t>;

// What each thing uses of what limits count.
const std::vector<std::string> kHeldNames = {"connections"};

// Calls `visit` with each number of a route, in the order of kRouteNames.
template <class Visit>
void for_each_number(Traffic& traffic, RouteCounts& counts, const Visit& visit) {
  for (Moved* each : {&traffic.to_upstream, &traffic.to_client}) {
    visit(each->forwarded_bytes);
    visit(each->spliced_bytes);
  }
  visit(counts.accepted);
  visit(counts.retries);
  for (Tally& each : counts.ended) visit(each);
  counts.connects.for_each(visit);
  counts.connections.for_each(visit);
}

std::vector<std::string> route_names() {
  std::vector<std::string> names = {"to_upstream", "to_upstream_spliced",
                                    "to_client",   "to_client_spliced",
                                    "accepted",    "retries"};
  for (const Ending& each : kEndings) {
    names.push_back("ended_" + std::string(each.name));
    if (!each.limit.empty()) names.back() += '_' + std::string(each.limit);
  }
  for (const std::string of : {"connect", "connection"}) {
    names.push_back(of + "_ns");
    for (const double bound : DurationCounts::kBounds) {
      names.push_back(of + "_" + std::to_string(bound));
    }
    names.push_back(of + "_longer");
  }
  return names;
}

// The numbers of a route, without the last elements.
Numbers own_numbers(RouteStats& stats, std::size_t count) {
  Numbers numbers(count);
  for (std::size_t i = 0; i + 1 < stats.counts.size(); ++i) {
    std::size_t next = 0;
    for_each_number(stats.traffic[i], stats.counts[i],
                    [&](const Tally& tally) { numbers[next++] += tally; });
  }
  return numbers;
}

void set_inherited(RouteStats& stats, const Numbers& numbers) {
  std::size_t next = 0;
  for_each_number(stats.traffic.back(), stats.counts.back(), [&](Tally& tally) {
    if (next < numbers.size()) tally.set(numbers[next]);
    ++next;
  });
}

// The numbers of a kind in the order of `names`.
Counted in_order_of(const std::vector<std::string>& names, const Totals& totals,
                    const std::string& kind) {
  Totals ordered;
  ordered[kind].names = names;
  takeover::add(ordered, {{kind, totals.contains(kind) ? totals.at(kind) : Counted{}}});
  return std::move(ordered[kind]);
}

}  // namespace

Totals RunningTotals::own() const {
  static const std::vector<std::string> kNames = route_names();
  Totals totals = source_.own_totals();
  Counted& routes = totals["route"];
  routes.names = kNames;
  Counted& servers = totals["server"];
  servers.names = {"failures"};
  for (const auto& route : source_.routes()) {
    routes.values[route->config.name] = own_numbers(*route->stats, kNames.size());
    for (const ServerRef& server : route->servers->servers) {
      const std::uint64_t failures = server->load->failures.load(std::memory_order_relaxed);
      if (failures > 0) servers.values[route->config.name + " " + server->name] = {failures};
    }
  }
  return totals;
}

void RunningTotals::inherit(const Totals& totals) {
  const Counted of_routes = in_order_of(route_names(), totals, "route");
  const Counted of_servers = in_order_of({"failures"}, totals, "server");
  for (const auto& route : source_.routes()) {
    const auto found = of_routes.values.find(route->config.name);
    if (found != of_routes.values.end()) set_inherited(*route->stats, found->second);
    for (const ServerRef& server : route->servers->servers) {
      const auto of_server = of_servers.values.find(route->config.name + " " + server->name);
      if (of_server == of_servers.values.end()) continue;
      server->load->inherited_failures.store(of_server->second.front(), std::memory_order_relaxed);
    }
  }
  source_.inherit(totals);
}

// Only what is not 0: a process that drains has few.
Totals RunningTotals::held() const {
  Totals held;
  for (const std::string kind : {"route", "server"}) held[kind].names = kHeldNames;
  for (const auto& route : source_.routes()) {
    const std::string& name = route->config.name;
    const std::uint64_t active =
        route->places != nullptr ? route->places->taken() : totals_of(*route).active;
    if (active > 0) held["route"].values[name] = {active};
    for (const ServerRef& server : route->servers->servers) {
      const std::uint64_t used = server->load->active.load(std::memory_order_relaxed);
      if (used > 0) held["server"].values[name + " " + server->name] = {used};
    }
  }
  return held;
}

void RunningTotals::set_held(const Totals& held) {
  const Counted of_routes = in_order_of(kHeldNames, held, "route");
  const Counted of_servers = in_order_of(kHeldNames, held, "server");
  const auto number = [](const Counted& counted, const std::string& thing) {
    const auto found = counted.values.find(thing);
    return found == counted.values.end() ? 0 : found->second.front();
  };
  for (const auto& route : source_.routes()) {
    const std::string& name = route->config.name;
    if (route->places != nullptr) route->places->set_others(number(of_routes, name));
    for (const ServerRef& server : route->servers->servers) {
      const std::uint64_t used = number(of_servers, name + " " + server->name);
      server->load->others.store(static_cast<std::uint32_t>(used), std::memory_order_relaxed);
    }
    route->wake_queue();
  }
}

}  // namespace sluice
