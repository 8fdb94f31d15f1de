#include "proxy/admin/route_metrics.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "proxy/log/ending.h"
#include "proxy/upstream/ejection.h"
#include "proxy/upstream/route_totals.h"

namespace sluice::admin {
namespace {

struct FamilyText {
  std::string_view name;
  MetricType type;
  std::string_view help;
};

enum Family : std::size_t {
  kAccepted,
  kActive,
  kClosed,
  kRejected,
  kForwarded,
  kSpliced,
  kPlaces,
  kPlacesLimit,
  kSources,
  kRetries,
  kQueueLength,
  kCaptureEnabled,
  kDuration,
  kConnectDuration,
  kServerUp,
  kServerConnections,
  kServerFailures,
  kServerPlaces,
  kServerPlacesLimit,
};
// By Family.
constexpr auto kFamilies = std::to_array<FamilyText>({
    {"sluice_connections_accepted_total", MetricType::counter,
     "Connections that the route's listeners accepted."},
    {"sluice_connections_active", MetricType::gauge, "Connections that are served now."},
    {"sluice_connections_closed_total", MetricType::counter,
     "Connections that ended, by the reason that the log has."},
    {"sluice_rejected_total", MetricType::counter,
     "Those of the ended connections that were turned away, by the reason or the limit."},
    {"sluice_forwarded_bytes_total", MetricType::counter, "Bytes that were forwarded."},
    {"sluice_spliced_bytes_total", MetricType::counter,
     "Those of the forwarded bytes that were not copied."},
    {"sluice_route_places", MetricType::gauge,
     "Connections that count against route-connections, those of replaced processes too."},
    {"sluice_route_places_limit", MetricType::gauge, "The route's route-connections."},
    {"sluice_sources", MetricType::gauge,
     "Sources that are counted for source-connections and source-rate."},
    {"sluice_retries_total", MetricType::counter,
     "Connects to a server after an earlier one of the same connection failed."},
    {"sluice_queue_length", MetricType::gauge, "Connections that wait for a place now."},
    {"sluice_capture_enabled", MetricType::gauge,
     "1 if connections that begin are recorded, 0 while the route's capture is switched off."},
    {"sluice_connection_duration_seconds", MetricType::histogram,
     "Times from a connection's accept to its end."},
    {"sluice_upstream_connect_duration_seconds", MetricType::histogram,
     "Times until a connection had its server."},
    {"sluice_server_up", MetricType::gauge,
     "1 if the server gets connections, 0 if it is down, drained or ejected."},
    {"sluice_server_connections", MetricType::gauge, "Connections and connects to the server now."},
    {"sluice_server_connect_failures_total", MetricType::counter,
     "Connects that failed through the server's fault."},
    {"sluice_server_places", MetricType::gauge,
     "Connections and connects that count against the server's limit, those of replaced processes "
     "too."},
    {"sluice_server_places_limit", MetricType::gauge, "The most connections that it may have."},
});
static_assert(kFamilies.size() == kServerPlacesLimit + 1);

// A histogram of all workers.
void add_histogram(MetricsWriter& metrics, const RouteStats& stats,
                   DurationCounts RouteCounts::*which, std::string_view route) {
  std::array<std::uint64_t, DurationCounts::kBounds.size() + 1> counts{};
  std::uint64_t total_ns = 0;
  for (const RouteCounts& worker : stats.counts) {
    const DurationCounts& durations = worker.*which;
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += durations.count(i);
    total_ns += durations.total_ns();
  }
  metrics.add_histogram(DurationCounts::kBounds, counts, static_cast<double>(total_ns) / 1e9,
                        {{"route", route}});
}

}  // namespace

RouteMetrics::RouteMetrics() : families_(kFamilies.size()) {
  for (std::size_t i = 0; i < kFamilies.size(); ++i) {
    families_[i].begin(kFamilies[i].name, kFamilies[i].type, kFamilies[i].help);
  }
}

void RouteMetrics::add(const Route& route, TimePoint now) {
  add_counts(route);
  add_durations(route);
  add_servers(route, now);
}

void RouteMetrics::append_to(std::string& text) {
  std::size_t size_bytes = text.size();
  for (const MetricsWriter& family : families_) size_bytes += family.text().size();
  text.reserve(size_bytes);
  for (const MetricsWriter& family : families_) text += family.text();
  families_.clear();
}

void RouteMetrics::add_counts(const Route& route) {
  const std::string_view name = route.config.name;
  const RouteTotals totals = totals_of(route);
  families_[kAccepted].add(totals.accepted, {{"route", name}});
  families_[kActive].add(totals.active, {{"route", name}});
  const RouteEnds ends = ends_of(route);
  for_each_end(ends, [&](std::string_view reason, std::uint64_t count) {
    families_[kClosed].add(count, {{"route", name}, {"reason", reason}});
  });
  for_each_rejection(ends, [&](std::string_view reason, std::uint64_t count) {
    families_[kRejected].add(count, {{"route", name}, {"reason", reason}});
  });
  const auto add_bytes = [&](std::string_view direction, const RouteTotals::Bytes& bytes) {
    families_[kForwarded].add(bytes.forwarded, {{"route", name}, {"dir", direction}});
    families_[kSpliced].add(bytes.spliced, {{"route", name}, {"dir", direction}});
  };
  add_bytes("to_upstream", totals.to_upstream);
  add_bytes("to_client", totals.to_client);
  if (route.places != nullptr) {
    families_[kPlaces].add(route.places->used(), {{"route", name}});
    families_[kPlacesLimit].add(route.config.route_connections, {{"route", name}});
  }
  if (route.sources != nullptr) {
    families_[kSources].add(std::uint64_t{route.sources->size()}, {{"route", name}});
  }
  families_[kRetries].add(totals.retries, {{"route", name}});
  if (route.config.queue > 0) families_[kQueueLength].add(route.queue->length(), {{"route", name}});
  if (!route.config.capture.empty()) {
    families_[kCaptureEnabled].add(std::uint64_t{route.stats->capture_enabled ? 1U : 0U},
                                   {{"route", name}});
  }
}

void RouteMetrics::add_durations(const Route& route) {
  const std::string_view name = route.config.name;
  add_histogram(families_[kDuration], *route.stats, &RouteCounts::connections, name);
  add_histogram(families_[kConnectDuration], *route.stats, &RouteCounts::connects, name);
}

void RouteMetrics::add_servers(const Route& route, TimePoint now) {
  const std::vector<ServerRef>& servers = route.servers->servers;
  for (const ServerRef& server : std::span(servers).first(std::min(servers.size(), kMostServers))) {
    const ServerLoad& load = *server->load;
    const MetricsWriter::Labels labels = {{"route", route.config.name}, {"server", server->name}};
    families_[kServerUp].add(std::uint64_t{is_usable(load, now) ? 1U : 0U}, labels);
    families_[kServerConnections].add(std::uint64_t{load.active.load(std::memory_order_relaxed)},
                                      labels);
    families_[kServerFailures].add(load.all_failures(), labels);
    if (server->most == Server::kNoLimit) continue;
    families_[kServerPlaces].add(load.used(), labels);
    families_[kServerPlacesLimit].add(std::uint64_t{server->most}, labels);
  }
}

}  // namespace sluice::admin
