#include "proxy/admin/routes.h"

#include <algorithm>

#include "proxy/admin/answer.h"
#include "proxy/config/option_text.h"
#include "proxy/log/ending.h"
#include "proxy/upstream/ejection.h"
#include "proxy/upstream/route_totals.h"

namespace sluice::admin {
namespace {

json::object by_direction(std::uint64_t to_upstream, std::uint64_t to_client) {
  json::object object;
  object["to_upstream"] = json_decimal(to_upstream);
  object["to_client"] = json_decimal(to_client);
  return object;
}

json::object closed_json(const RouteEnds& ends) {
  json::object closed;
  for_each_end(ends, [&](std::string_view name, std::uint64_t count) {
    if (count > 0) closed[name] = json_decimal(count);
  });
  return closed;
}

json::object rejected_json(const RouteEnds& ends) {
  json::object rejected;
  for_each_rejection(ends, [&](std::string_view name, std::uint64_t count) {
    if (count > 0) rejected[name] = json_decimal(count);
  });
  return rejected;
}

// The limits that the route sets, by their keys; and how much is used of those that all share.
json::object limits_json(const Route& route) {
  const RouteConfig& config = route.config;
  json::object limits;
  if (route.places != nullptr) {
    limits["route-connections"] =
        json::object{{"limit", config.route_connections}, {"used", route.places->used()}};
  }
  if (config.queue > 0) {
    limits["queue"] = json::object{{"limit", config.queue}, {"used", route.queue->length()}};
  }
  if (config.source_connections > 0) {
    limits["source-connections"] = json::object{{"limit", config.source_connections}};
  }
  const auto add = [&](std::string_view key, std::uint64_t limit) {
    if (limit == 0) return;
    limits[key] = json::object{{"limit", json_text(format_number(*find_option(key), limit))}};
  };
  add("source-rate", config.source_rate);
  add("connection-bandwidth", config.connection_bandwidth);
  add("route-bandwidth", config.route_bandwidth);
  return limits;
}

std::size_t usable_servers(const ServerSet& set, TimePoint now) {
  return static_cast<std::size_t>(std::ranges::count_if(
      set.servers, [now](const ServerRef& server) { return is_usable(*server->load, now); }));
}

json::object route_json(const Route& route, TimePoint now) {
  const RouteConfig& config = route.config;
  const RouteTotals totals = totals_of(route);
  json::object object;
  object["name"] = json_text(config.name);
  json::array& listen = object["listen"].emplace_array();
  for (const ListenAddress& each : config.listen) listen.emplace_back(json_text(to_string(each)));
  json::array& to = object["to"].emplace_array();
  for (const ServerConfig& each : config.to) to.emplace_back(json_text(to_string(each.address)));
  object["accepted"] = json_decimal(totals.accepted);
  object["connections"] = totals.active;
  const RouteEnds ends = ends_of(route);
  object["closed"] = closed_json(ends);
  object["rejected"] = rejected_json(ends);
  object["limits"] = limits_json(route);
  object["sources"] = nullptr;
  if (route.sources != nullptr) object["sources"] = route.sources->size();
  object["retries"] = json_decimal(totals.retries);
  object["bytes"] = by_direction(totals.to_upstream.forwarded, totals.to_client.forwarded);
  object["spliced_bytes"] = by_direction(totals.to_upstream.spliced, totals.to_client.spliced);
  if (config.capture.empty()) {
    object["capture"] = nullptr;
  } else {
    object["capture"] = json_text(config.capture);
  }
  object["capture_enabled"] = !config.capture.empty() && route.stats->capture_enabled;
  json::array& mirrors = object["mirrors"].emplace_array();
  for (const MirrorTarget& each : route.mirrors) mirrors.emplace_back(json_text(each.address));
  object["servers"] = route.servers->servers.size();
  object["servers_usable"] = usable_servers(*route.servers, now);
  return object;
}

}  // namespace

json::array routes_json(const Routes& routes, TimePoint now) {
  json::array items;
  for (const auto& route : routes) items.push_back(route_json(*route, now));
  return items;
}

}  // namespace sluice::admin
