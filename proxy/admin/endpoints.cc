#include "proxy/admin/endpoints.h"

#include <chrono>
#include <string_view>
#include <utility>

#include "proxy/admin/metrics.h"
#include "proxy/admin/process_metrics.h"
#include "proxy/admin/status.h"

namespace sluice::admin {
namespace {

// However many scrape, the metrics are rendered once in this time.
constexpr Duration kRenderingTime = std::chrono::milliseconds(250);

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

}  // namespace

Endpoints::Endpoints(GuardRules rules, const AdminSource& source,
                     std::function<std::uint64_t(Rejection)> rejected)
    : rules_(std::move(rules)), source_(source), rejected_(std::move(rejected)) {}

HttpResponse Endpoints::answer(const HttpRequest& request) {
  if (std::optional<HttpResponse> refused = refusal(request, rules_)) {
    count(refused->status);
    return *std::move(refused);
  }
  const Answer found = find(request.path());
  if (found == nullptr) return make_problem(404, "There is nothing at this path.");
  if (request.only_reads()) return (this->*found)();
  HttpResponse response = make_problem(405, "This path can only be read.");
  response.fields.emplace_back("Allow", "GET, HEAD");
  return response;
}

Endpoints::Answer Endpoints::find(std::string_view path) {
  static constexpr std::pair<std::string_view, Answer> kPaths[] = {
      {"/livez", &Endpoints::livez},
      {"/readyz", &Endpoints::readyz},
      {"/metrics", &Endpoints::metrics},
      {"/v1/status", &Endpoints::status},
  };
  for (const auto& [name, its_answer] : kPaths) {
    if (name == path) return its_answer;
  }
  return nullptr;
}

HttpResponse Endpoints::livez() { return make_response("text/plain; charset=utf-8", "alive\n"); }

HttpResponse Endpoints::readyz() {
  const RunState state = source_.state();
  if (state == RunState::ready) return make_response("text/plain; charset=utf-8", "ready\n");
  return make_problem(503, "The state is " + std::string(name_of(state)) + ".");
}

HttpResponse Endpoints::metrics() {
  if (!rendering_ || Clock::now() - rendered_ >= kRenderingTime) {
    rendering_ = std::make_shared<const std::string>(render_metrics());
    rendered_ = Clock::now();
  }
  HttpResponse response;
  response.content_type = MetricsWriter::kContentType;
  response.body = rendering_;
  return response;
}

HttpResponse Endpoints::status() {
  return make_response("application/json",
                       status_json(source_.state(), source_.figures(), Clock::now() - start_));
}

std::string Endpoints::render_metrics() const {
  MetricsWriter metrics;
  metrics.add_single("sluice_ready", MetricType::gauge, "1 while /readyz answers 200, otherwise 0.",
                     std::uint64_t{source_.state() == RunState::ready ? 1U : 0U});
  if (const std::optional<Figures> figures = source_.figures()) add_figures(metrics, *figures);
  metrics.begin("sluice_admin_rejected_total", MetricType::counter,
                "Connections and requests that the admin thread rejected.");
  for (std::size_t i = 0; i < kRejections; ++i) {
    metrics.add(rejected_(static_cast<Rejection>(i)), {{"reason", kRejectionNames.at(i)}});
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
