#include "proxy/run/summary.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "proxy/log/log.h"
#include "proxy/upstream/ejection.h"
#include "proxy/upstream/route_totals.h"

namespace sluice {
namespace {

// The part of the summary about connections.
std::vector<log::Field> connection_fields(const RouteSums& sums) {
  const RouteTotals& totals = sums.totals;
  std::vector<log::Field> fields = {{"accepted", totals.accepted}, {"active", totals.active}};
  for (std::size_t i = 0; i < sums.ended.size(); ++i) {
    fields.push_back({kEndGroupNames[i], sums.ended[i]});
  }
  fields.push_back({"bytes_to_upstream", totals.to_upstream.forwarded});
  fields.push_back({"bytes_to_client", totals.to_client.forwarded});
  fields.push_back({"bytes_spliced", totals.to_upstream.spliced + totals.to_client.spliced});
  return fields;
}

void print_servers_of(const Route& route, HealthThread* health) {
  HealthChecker::LastChecks checks;
  if (health != nullptr && health->is_running()) checks = health->last_checks(route.number);
  for (const ServerRef& server : route.servers->servers) {
    const ServerLoad& load = *server->load;
    std::vector<log::Field> fields = {
        {"route", route.config.name},
        {"server", server->name},
        {"state", state_name(load, Clock::now())},
        {"active", std::uint64_t{load.active.load(std::memory_order_relaxed)}},
        {"failures", load.all_failures()}};
    if (server->most != Server::kNoLimit) {
      fields.push_back({"places", load.used()});
      fields.push_back({"places_limit", std::uint64_t{server->most}});
    }
    if (!load.is_allowed()) {
      fields.push_back({"ordered", name_of(load.order.load(std::memory_order_relaxed))});
    }
    const auto check = checks.find(server->load.get());
    if (check != checks.end()) {
      const std::chrono::duration<double> age = check->second.age;
      fields.push_back({"check", check->second.text});
      fields.push_back({"check_age", age.count()});
    }
    log::print("server", fields);
  }
}

// What the route's limits count, and the clients that it has turned away; empty if it has no limit
// and has turned away nobody.
std::vector<log::Field> limit_fields(const Route& route) {
  std::vector<log::Field> fields;
  if (route.places != nullptr) {
    fields.push_back({"places", route.places->used()});
    fields.push_back({"places_limit", route.config.route_connections});
  }
  if (route.config.queue > 0) {
    fields.push_back({"queued", route.queue->length()});
    fields.push_back({"queue", route.config.queue});
  }
  if (route.sources != nullptr) fields.push_back({"sources", std::uint64_t{route.sources->size()}});
  for_each_rejection(ends_of(route), [&](std::string_view name, std::uint64_t count) {
    if (count > 0) fields.push_back({name, count});
  });
  return fields;
}

}  // namespace

void RouteSums::add(const Route& route) {
  const RouteTotals more = totals_of(route);
  totals.accepted += more.accepted;
  totals.active += more.active;
  totals.to_upstream.forwarded += more.to_upstream.forwarded;
  totals.to_upstream.spliced += more.to_upstream.spliced;
  totals.to_client.forwarded += more.to_client.forwarded;
  totals.to_client.spliced += more.to_client.spliced;
  const RouteEnds ends = ends_of(route);
  for (std::size_t i = 0; i < ends.size(); ++i) {
    ended.at(static_cast<std::size_t>(kEndings[i].group)) += ends[i];
  }
}

// A worker can still be about to begin a connection of a route that has just been removed, so one
// is looked at again when the next is added.
void RemovedRoutes::add(const Route& route) {
  std::erase_if(ending_, [this](const Route& each) {
    if (totals_of(each).active > 0) return false;
    ended_.add(each);
    return true;
  });
  ending_.push_back(route);
  ending_.back().servers.reset();
}

RouteSums RemovedRoutes::sums() const {
  RouteSums sums = ended_;
  for (const Route& each : ending_) sums.add(each);
  return sums;
}

void report_bound(const Config& config, const ListenSockets& sockets) {
  for (const ListenSockets::Bound& each : sockets.bound) {
    log::info("listening", {{"route", config.routes[each.route].name}, {"address", each.address}});
  }
}

void report_passed_over(const Config& config, const ListenSockets& sockets) {
  for (const ListenSockets::PassedOver& each : sockets.passed_over) {
    log::warn(
        "address_passed_over",
        {{"route", config.routes[each.route].name}, {"name", each.name}, {"reason", each.reason}});
  }
}

void print_summary(const std::vector<Route>& routes, const RemovedRoutes& removed,
                   const Workers& workers, const CaptureDirectories& directories,
                   const PipePool& pool) {
  RouteSums connections = removed.sums();
  for (const Route& route : routes) connections.add(route);
  std::vector<log::Field> fields = connection_fields(connections);
  std::vector<const WorkerCapture*> captures;
  std::vector<const WorkerMirrors*> mirrors;
  for (const auto& thread : workers) {
    const Worker& worker = thread->worker();
    if (worker.capture().is_used()) captures.push_back(&worker.capture());
    if (worker.mirrors().is_used()) mirrors.push_back(&worker.mirrors());
  }
  fields.push_back({"pipe_shortages", sum_of(workers, &WorkerStats::pipe_shortages)});
  fields.push_back({"accept_pauses", sum_of(workers, &WorkerStats::accept_pauses)});
  if (!captures.empty()) {
    const std::vector<log::Field> sums = capture_sums(directories, captures);
    fields.insert(fields.end(), sums.begin(), sums.end());
  }
  if (!mirrors.empty()) {
    const std::vector<log::Field> sums = mirror_sums(mirrors);
    fields.insert(fields.end(), sums.begin(), sums.end());
  }
  fields.push_back({"pipe_slots", std::uint64_t{pool.slots_in_use()}});
  fields.push_back({"log_lines_dropped", log::dropped_lines()});
  log::print("stats", fields);
}

void print_limits(const std::vector<Route>& routes) {
  for (const Route& route : routes) {
    std::vector<log::Field> fields = limit_fields(route);
    if (fields.empty()) continue;
    fields.insert(fields.begin(), {"route", route.config.name});
    log::print("limits", fields);
  }
}

void print_servers(const std::vector<Route>& routes, HealthThread* health) {
  for (const Route& route : routes) {
    const bool has_orders = std::ranges::any_of(
        route.servers->servers, [](const ServerRef& each) { return !each->load->is_allowed(); });
    const bool has_limits = std::ranges::any_of(route.servers->servers, [](const ServerRef& each) {
      return each->most != Server::kNoLimit;
    });
    const bool prints =
        route.has_several_servers() || checks_servers(route) || has_orders || has_limits;
    if (prints) print_servers_of(route, health);
  }
}

}  // namespace sluice
