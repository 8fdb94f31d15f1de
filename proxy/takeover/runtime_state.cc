#include "proxy/takeover/runtime_state.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/config/options.h"
#include "proxy/log/log.h"
#include "proxy/takeover/wire.h"

namespace sluice::takeover {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
// The longest ejection that there is, and half as much again.
constexpr Duration kLongestEjection = std::chrono::minutes(8);

// Empty if there is nothing to say.
json::object state_of(const ServerLoad& load, TimePoint now) {
  json::object state;
  const Order order = load.order.load(kRelaxed);
  if (order != Order::up) state["order"] = json_view(name_of(order));
  if (load.down.load(kRelaxed)) state["down"] = true;
  if (const std::uint32_t failures = load.failures_in_row.load(kRelaxed); failures > 0) {
    state["failures_in_row"] = failures;
  }
  const Duration::rep until = load.ejected_until.load(kRelaxed);
  if (until == 0) return state;
  state["ejections"] = load.ejections.load(kRelaxed);
  const Duration left = TimePoint(Duration(until)) - now;
  state["ejected_ns"] =
      std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::nanoseconds>(left).count());
  return state;
}

void restore_server(const json::object& state, ServerLoad& load, TimePoint now) {
  const std::string order = text_of(state, "order");
  for (const Order each : {Order::drain, Order::down}) {
    if (order == name_of(each)) load.order.store(each, kRelaxed);
  }
  if (flag_of(state, "down")) load.down.store(true, kRelaxed);
  load.failures_in_row.store(static_cast<std::uint32_t>(number_of(state, "failures_in_row")),
                             kRelaxed);
  const std::uint64_t left_ns = number_of(state, "ejected_ns");
  if (left_ns == 0) return;
  load.ejections.store(static_cast<std::uint32_t>(number_of(state, "ejections")), kRelaxed);
  const Duration left =
      std::min(to_duration(std::chrono::nanoseconds(std::min<std::uint64_t>(left_ns, INT64_MAX))),
               kLongestEjection);
  load.ejected_until.store((now + left).time_since_epoch().count(), kRelaxed);
}

json::object state_of(const Route& route, TimePoint now) {
  json::object state;
  const bool enabled = route.stats->capture_enabled;
  if (enabled != route.config.capture_enabled) state["capture_enabled"] = enabled;
  json::object servers;
  for (const ServerRef& server : route.servers->servers) {
    json::object each = state_of(*server->load, now);
    if (!each.empty()) servers[json_view(server->name)] = std::move(each);
  }
  if (!servers.empty()) state["servers"] = std::move(servers);
  return state;
}

void restore_route(const json::object& state, const Route& route, TimePoint now) {
  // It is there only where it was not as configured.
  if (state.contains("capture_enabled")) {
    const bool enabled = flag_of(state, "capture_enabled");
    if (enabled != route.config.capture_enabled && !is_sink(route.config)) {
      route.stats->capture_enabled = enabled;
    }
  }
  const json::object& servers = object_of(state, "servers");
  for (const ServerRef& server : route.servers->servers) {
    restore_server(object_of(servers, server->name), *server->load, now);
  }
}

std::string_view name_of(LogLevel level) {
  return find_option("log-level")->choices[static_cast<std::size_t>(level)];
}

void restore_log_level(const json::object& state, const Config& config) {
  if (text_of(state, "configured_log_level") != name_of(config.log_level)) return;
  const auto& names = find_option("log-level")->choices;
  const auto found = std::ranges::find(names, text_of(state, "log_level"));
  if (found == names.end()) return;
  log::set_level(static_cast<LogLevel>(found - names.begin()));
}

}  // namespace

json::object runtime_state(std::span<const std::shared_ptr<const Route>> routes,
                           const Config& config, TimePoint now) {
  json::object state;
  state["log_level"] = json_view(name_of(log::level()));
  state["configured_log_level"] = json_view(name_of(config.log_level));
  json::object of_routes;
  for (const auto& route : routes) {
    json::object each = state_of(*route, now);
    if (!each.empty()) of_routes[json_view(route->config.name)] = std::move(each);
  }
  state["routes"] = std::move(of_routes);
  return state;
}

void restore(const json::object& state, std::span<const Route> routes, const Config& config,
             TimePoint now) {
  restore_log_level(state, config);
  const json::object& of_routes = object_of(state, "routes");
  for (const Route& route : routes) {
    restore_route(object_of(of_routes, route.config.name), route, now);
  }
}

}  // namespace sluice::takeover
