#include "proxy/run/admin_source.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "proxy/log/log.h"

namespace sluice {
namespace {

void add(admin::CaptureFigures& figures, const capture::RecorderCounters& counters) {
  figures.recorded_bytes += counters.recorded_bytes;
  figures.lag_bytes += counters.lag_bytes;
  for (std::size_t i = 0; i < figures.dropped_bytes.size(); ++i) {
    figures.dropped_bytes[i] += counters.dropped_bytes[i];
  }
  figures.lost_connections += counters.lost_connections;
  figures.disk_failures += counters.disk_failures;
  figures.segments += counters.segments;
}

void add(admin::MirrorFigures& figures, const mirror::Mirror& mirror) {
  for (std::size_t i = 0; i < figures.counts.size(); ++i) {
    figures.counts[i] += mirror.count(static_cast<mirror::Count>(i));
  }
  figures.breaker_open = figures.breaker_open || !mirror.is_well();
}

admin::MirrorFigures& figures_of(std::vector<admin::MirrorFigures>& mirrors,
                                 const std::string& address) {
  const auto found = std::ranges::find(mirrors, address, &admin::MirrorFigures::address);
  if (found != mirrors.end()) return *found;
  return mirrors.emplace_back(admin::MirrorFigures{.address = address});
}

}  // namespace

std::optional<admin::Figures> DaemonSource::figures() const {
  if (state() == admin::RunState::starting) return std::nullopt;
  admin::Figures figures;
  figures.engine = machine_.uring ? "uring" : "epoll";
  figures.workers = machine_.workers;
  figures.connections = sum_of(&WorkerStats::active);
  figures.connections_limit = machine_.connections;
  figures.pipe_slots = pool_.slots_in_use();
  figures.pipe_slots_limit = pipe_slots_limit_;
  figures.pipe_shortages = sum_of(&WorkerStats::pipe_shortages);
  figures.accept_pauses = sum_of(&WorkerStats::accept_pauses);
  figures.log_lines_dropped = log::dropped_lines();
  return figures;
}

void DaemonSource::set_routes(const std::vector<Route>& routes) {
  admin::Routes copies;
  for (const Route& route : routes) copies.push_back(std::make_shared<const Route>(route));
  const std::lock_guard lock(mutex_);
  routes_ = std::move(copies);
}

void DaemonSource::update_route(const Route& route) {
  auto copy = std::make_shared<const Route>(route);
  const std::lock_guard lock(mutex_);
  // The old one goes after the lock.
  routes_[route.index].swap(copy);
}

admin::Routes DaemonSource::routes() const {
  const std::lock_guard lock(mutex_);
  return routes_;
}

// A worker's recorders are in the order of the directories.
std::vector<admin::CaptureFigures> DaemonSource::captures() const {
  std::vector<admin::CaptureFigures> captures;
  if (state() == admin::RunState::starting) return captures;
  for (const auto& each : captures_.all()) captures.push_back({.directory = each->path});
  for (const auto& worker : workers_) {
    const WorkerCapture* const capture = worker->worker().capture();
    if (capture == nullptr) continue;
    for (std::size_t i = 0; i < captures.size(); ++i) {
      add(captures[i], capture->recorders()[i]->counters());
    }
  }
  return captures;
}

std::vector<admin::MirrorFigures> DaemonSource::mirrors() const {
  std::vector<admin::MirrorFigures> mirrors;
  if (state() == admin::RunState::starting) return mirrors;
  for (const auto& worker : workers_) {
    worker->worker().mirrors().for_each(
        [&](const std::string& address, const mirror::Mirror& each) {
          add(figures_of(mirrors, address), each);
        });
  }
  return mirrors;
}

void DaemonSource::get_checks(std::function<void(admin::Checks)> take) const {
  if (state() == admin::RunState::starting || health_ == nullptr) return take({});
  health_->get_last_checks([take = std::move(take)](std::vector<HealthChecker::LastChecks> routes) {
    admin::Checks checks;
    for (HealthChecker::LastChecks& route : routes) {
      for (auto& [load, check] : route) {
        if (check.text != HealthChecker::kNoCheck) {
          checks[load] = {std::move(check.text), check.age};
        }
      }
    }
    take(std::move(checks));
  });
}

std::uint64_t DaemonSource::sum_of(Tally WorkerStats::*count) const {
  std::uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->worker().stats().*count;
  return sum;
}

}  // namespace sluice
