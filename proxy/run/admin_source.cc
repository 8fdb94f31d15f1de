#include "proxy/run/admin_source.h"

#include <utility>

#include "proxy/log/log.h"

namespace sluice {

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
