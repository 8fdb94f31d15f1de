#include "proxy/admin/endpoints.h"

#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/admin/answer.h"
#include "proxy/admin/changes.h"
#include "proxy/admin/config_json.h"
#include "proxy/admin/connections.h"
#include "proxy/admin/metrics.h"
#include "proxy/admin/page_files.h"
#include "proxy/admin/process_metrics.h"
#include "proxy/admin/routes.h"
#include "proxy/admin/servers.h"
#include "proxy/admin/status.h"
#include "proxy/admin/taps.h"

namespace sluice::admin {
namespace {

void add_figures(MetricsWriter& metrics, const Figures& figures) {
  metrics.begin("sluice_build_info", MetricType::gauge, "Always 1; the labels tell what runs.");
  metrics.add(std::uint64_t{1}, {{"version", SLUICE_VERSION}, {"engine", figures.engine}});
  metrics.add_single("sluice_connections_limit", MetricType::gauge,
                     "The most connections at a time.", figures.connections_limit);
  metrics.add_single("sluice_pipe_slots", MetricType::gauge, "Slots of the pipes that are open.",
                     figures.pipe_slots);
  metrics.add_single("sluice_pipe_slots_limit", MetricType::gauge,
                     "The most slots of open pipes (--pipe-budget).", figures.pipe_slots_limit);
  metrics.add_single("sluice_pipe_shortages_total", MetricType::counter,
                     "How often no pipe was available, and bytes were copied.",
                     figures.pipe_shortages);
  metrics.add_single("sluice_accept_pauses_total", MetricType::counter,
                     "How often accepting paused for lack of descriptors or memory.",
                     figures.accept_pauses);
  metrics.add_single("sluice_log_lines_dropped_total", MetricType::counter,
                     "Log lines that were lost.", figures.log_lines_dropped);
}

// In seconds since the epoch.
double epoch_seconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

double wall_time() { return epoch_seconds(std::chrono::system_clock::now()); }

void add_reloads(MetricsWriter& metrics, const Reloads& reloads) {
  metrics.add_single("sluice_config_last_reload_successful", MetricType::gauge,
                     "1 if the configuration file, as it was last read, holds; otherwise 0.",
                     std::uint64_t{reloads.last_successful() ? 1U : 0U});
  metrics.add_single("sluice_config_last_reload_success_timestamp_seconds", MetricType::gauge,
                     "When a configuration file was last read that holds, at first the start.",
                     epoch_seconds(reloads.succeeded));
}

void add_predecessors(MetricsWriter& metrics, const std::vector<Predecessor>& predecessors) {
  std::uint64_t connections = 0;
  for (const Predecessor& each : predecessors) connections += each.connections;
  metrics.add_single("sluice_predecessors", MetricType::gauge,
                     "Processes that this one has taken over from, and that still drain.",
                     std::uint64_t{predecessors.size()});
  metrics.add_single("sluice_predecessor_connections", MetricType::gauge,
                     "Connections that these still serve.", connections);
}

}  // namespace

Endpoints::Endpoints(GuardRules rules, const AdminSource& source, AdminCommands& commands,
                     Hooks hooks)
    : rules_(std::move(rules)),
      source_(source),
      hooks_(std::move(hooks)),
      scrape_(
          source, [this] { return render_metrics(); }, hooks_.post) {
  add_paths();
  add_changes(paths_, source, commands);
}

void Endpoints::add_paths() {
  add_page(paths_);
  paths_.add_read("/livez", [] { return make_response("text/plain; charset=utf-8", "alive\n"); });
  paths_.add_read("/readyz", [this] { return readyz(); });
  paths_.add("GET", "/metrics", [this](const Paths::Call& call) { scrape_.answer(call.reply); });
  paths_.add_read("/v1/status", [this] {
    return make_response("application/json", status_json(source_, Clock::now() - start_));
  });
  add_connection_paths(paths_, source_);
  paths_.add_read("/v1/routes",
                  [this] { return make_list(routes_json(source_.routes(), Clock::now())); });
  paths_.add("GET", "/v1/servers", [this](const Paths::Call& call) { servers(call); });
  paths_.add_read("/v1/captures", [this] {
    return make_list(captures_json(source_.captures(), source_.routes()));
  });
  paths_.add_read("/v1/mirrors",
                  [this] { return make_list(mirrors_json(source_.mirrors(), source_.routes())); });
  paths_.add_read("/v1/config", [this] { return make_json(config_json(*source_.config())); });
  paths_.add_read("/v1/history", [this] { return make_json(history_.to_json(wall_time())); });
}

void Endpoints::sample() { history_.add(wall_time(), history_counts(source_.routes())); }

void Endpoints::answer(HttpRequest request, HttpServer::Reply reply) {
  if (std::optional<HttpResponse> refused = refusal(request, rules_)) {
    count(refused->status);
    return reply(*std::move(refused));
  }
  paths_.answer(std::move(request), std::move(reply));
}

HttpResponse Endpoints::readyz() const {
  const RunState state = source_.state();
  if (state == RunState::ready) return make_response("text/plain; charset=utf-8", "ready\n");
  return make_problem(503, "The state is " + std::string(name_of(state)) + ".");
}

// Waits for the thread that checks them.
void Endpoints::servers(const Paths::Call& call) const {
  source_.get_checks([this, reply = call.reply](Checks checks) {
    hooks_.post([this, reply, checks = std::move(checks)] {
      reply(make_list(servers_json(source_.routes(), checks, Clock::now())));
    });
  });
}

std::string Endpoints::render_metrics() const {
  MetricsWriter metrics;
  metrics.add_single("sluice_ready", MetricType::gauge, "1 while /readyz answers 200, otherwise 0.",
                     std::uint64_t{source_.state() == RunState::ready ? 1U : 0U});
  if (const std::optional<Figures> figures = source_.figures()) add_figures(metrics, *figures);
  add_reloads(metrics, source_.reloads());
  add_predecessors(metrics, source_.predecessors());
  add_capture_metrics(metrics, source_.captures());
  add_mirror_metrics(metrics, source_.mirrors());
  metrics.begin("sluice_admin_rejected_total", MetricType::counter,
                "Connections and requests that the admin thread rejected.");
  for (std::size_t i = 0; i < kRejections; ++i) {
    metrics.add(hooks_.rejected(static_cast<Rejection>(i)), {{"reason", kRejectionNames.at(i)}});
  }
  metrics.add(wrong_hosts_, {{"reason", "host"}});
  metrics.add(wrong_tokens_, {{"reason", "token"}});
  metrics.add(forbidden_, {{"reason", "forbidden"}});
  add_process_metrics(metrics);
  return metrics.text();
}

// Counts a refusal of the guard.
void Endpoints::count(unsigned status) {
  if (status == 421) {
    ++wrong_hosts_;
  } else if (status == 401) {
    ++wrong_tokens_;
  } else {
    ++forbidden_;
  }
}

}  // namespace sluice::admin
