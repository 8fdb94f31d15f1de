#include "proxy/health/checker.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "proxy/upstream/ejection.h"

namespace sluice {
namespace {

Duration to_duration(std::chrono::nanoseconds time) {
  return std::chrono::duration_cast<Duration>(time);
}

// Checks begin at multiples of this part of their interval, so that with many servers one turn
// begins several.
constexpr int kGrid = 1'000;

TimePoint rounded_up(TimePoint time, Duration step) {
  const Duration since = time.time_since_epoch();
  return TimePoint((since + step - Duration(1)) / step * step);
}

}  // namespace

HealthChecker::Target::Target(const RouteConfig& its_route, ServerRef its_server)
    : route(its_route),
      server(std::move(its_server)),
      verdict(its_route.health_rise, its_route.health_fall) {}

HealthChecker::HealthChecker(Reactor& reactor, const std::vector<Route>& routes,
                             ServerChanges& changes, balance::Random random, Hooks hooks)
    : reactor_(reactor),
      changes_(changes),
      random_(random),
      hooks_(std::move(hooks)),
      targets_(routes.size()) {
  for (const Route& route : routes) {
    if (route.config.health == Health::none) continue;
    for (const ServerRef& server : route.servers->servers) {
      targets_[route.index].emplace_back(route.config, server);
      ++unchecked_;
    }
  }
}

void HealthChecker::start() {
  for (std::deque<Target>& targets : targets_) {
    for (Target& target : targets) {
      target.watch = watch(target);
      target.watch.start();
    }
  }
}

void HealthChecker::update(const Route& route) {
  std::deque<Target>& targets = targets_[route.index];
  for (std::size_t i = 0; i < targets.size(); ++i) targets[i].server = route.servers->servers[i];
}

// The whole life of a server's checks. The first check is at once; the second is at a random time
// of the interval, so that the later ones are spread.
Task<> HealthChecker::watch(Target& target) {
  const Duration interval = to_duration(target.route.health_interval);
  Duration pause = random_below(interval);
  for (;;) {
    co_await Place(*this);
    const TimePoint began = reactor_.now();
    const ServerRef server = target.server;  // its addresses may change meanwhile
    CheckOutcome outcome = co_await hooks_.check(reactor_, *server, target.route,
                                                 began + to_duration(target.route.health_timeout));
    leave_place();
    note(target, std::move(outcome));
    co_await reactor_.sleep_until(rounded_up(began + pause, interval / kGrid));
    pause = interval - interval / 10 + random_below(interval / 5);
  }
}

bool HealthChecker::Place::await_ready() const {
  return checker_.under_way_ < kMostAtOnce && checker_.waiting_.empty();
}

void HealthChecker::leave_place() {
  --under_way_;
  if (!waiting_.empty()) reactor_.defer(place_left_);
}

// In a deferral, so that checks that end at once do not resume each other ever deeper.
void HealthChecker::serve_waiting() {
  while (!waiting_.empty() && under_way_ < kMostAtOnce) {
    const std::coroutine_handle<> next = waiting_.front();
    waiting_.pop_front();
    next.resume();
  }
}

void HealthChecker::note(Target& target, CheckOutcome outcome) {
  const TimePoint now = reactor_.now();
  const bool first = !std::exchange(target.checked, now).has_value();
  target.reason = std::move(outcome.reason);
  if (target.verdict.note(outcome.result)) {
    ServerLoad& load = *target.server->load;
    const bool up = target.verdict.is_up();
    load.down.store(!up, std::memory_order_relaxed);
    if (!up) load.falls.fetch_add(1, std::memory_order_release);
    if (up) {
      static_cast<void>(note_success(load));  // its checks are trials enough
      changes_.log(now, LogLevel::info, "server_up",
                   {{"route", target.route.name}, {"server", target.server->name}});
    } else {
      changes_.log(now, LogLevel::warn, "server_down",
                   {{"route", target.route.name},
                    {"server", target.server->name},
                    {"reason", target.reason}});
      if (target.route.on_down == OnDown::reset) hooks_.end_sessions();
    }
  }
  if (first && --unchecked_ == 0) hooks_.checked_once();
}

std::vector<HealthChecker::LastCheck> HealthChecker::last_checks(std::size_t route) const {
  std::vector<LastCheck> checks;
  for (const Target& target : targets_[route]) {
    LastCheck& check = checks.emplace_back();
    if (!target.checked) continue;
    check.text = target.reason.empty() ? "passed" : target.reason;
    check.age = reactor_.now() - *target.checked;
  }
  return checks;
}

Duration HealthChecker::random_below(Duration bound) {
  return Duration(
      static_cast<Duration::rep>(random_.below(static_cast<std::uint64_t>(bound.count()) + 1)));
}

}  // namespace sluice
