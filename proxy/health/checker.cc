#include "proxy/health/checker.h"

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

#include "proxy/upstream/ejection.h"

namespace sluice {
namespace {

// Checks begin at multiples of this part of their interval, so that with many servers one turn
// begins several.
constexpr int kGrid = 1'000;

TimePoint rounded_up(TimePoint time, Duration step) {
  const Duration since = time.time_since_epoch();
  return TimePoint((since + step - Duration(1)) / step * step);
}

std::shared_ptr<const Route> without_servers(const Route& route) {
  auto copy = std::make_shared<Route>(route);
  copy->servers.reset();
  return copy;
}

// Whether what a check does, when, and what follows is the same.
bool checks_alike(const RouteConfig& a, const RouteConfig& b) {
  const auto settings = [](const RouteConfig& each) {
    return std::tie(each.health, each.health_send, each.health_expect, each.health_interval,
                    each.health_timeout, each.health_rise, each.health_fall, each.source,
                    each.proxy_out);
  };
  return settings(a) == settings(b);
}

}  // namespace

HealthChecker::Target::Target(Group& its_group, ServerRef its_server)
    : group(its_group),
      server(std::move(its_server)),
      verdict(its_group.route->config.health_rise, its_group.route->config.health_fall,
              !server->load->down.load(std::memory_order_relaxed)) {}

HealthChecker::HealthChecker(Reactor& reactor, const std::vector<Route>& routes,
                             ServerChanges& changes, balance::Random random, Hooks hooks)
    : reactor_(reactor), changes_(changes), random_(random), hooks_(std::move(hooks)) {
  for (const Route& route : routes) {
    if (!checks_servers(route)) continue;
    Group& group = groups_[route.number];
    group.route = without_servers(route);
    group.first = route.servers;
    unchecked_ += route.servers->servers.size();
  }
  share_places();
}

void HealthChecker::share_places() {
  const auto routes =
      std::ranges::count_if(groups_, [](const auto& each) { return each.second.route != nullptr; });
  most_at_once_ = std::max<std::size_t>(
      1, kMostAtOnce / std::max<std::size_t>(1, static_cast<std::size_t>(routes)));
}

void HealthChecker::start() {
  if (unchecked_ == 0) return hooks_.checked_once();
  for (auto& [number, group] : groups_) {
    const std::shared_ptr<const ServerSet> first = std::exchange(group.first, nullptr);
    for (const ServerRef& server : first->servers) begin(server, group, true);
  }
}

void HealthChecker::update(const Route& route) {
  if (!checks_servers(route)) return remove(route.number);
  Group& group = groups_[route.number];
  const std::shared_ptr<const Route> old = std::exchange(group.route, without_servers(route));
  if (old == nullptr) share_places();
  if (old != nullptr && !checks_alike(old->config, route.config)) end_all(group);
  Targets before = std::exchange(group.targets, {});
  for (const ServerRef& server : route.servers->servers) {
    const auto known = before.find(server->load.get());
    if (known == before.end()) {
      begin(server, group, false);
    } else {
      known->second->server = server;
      group.targets.insert(before.extract(known));
    }
  }
  for (auto& [load, target] : before) end(std::move(target));
}

// What the checks have found counts no longer, if the route goes on without them.
void HealthChecker::remove(std::size_t number) {
  const auto found = groups_.find(number);
  if (found == groups_.end() || found->second.route == nullptr) return;
  Group& group = found->second;
  for (const auto& [load, target] : group.targets) {
    target->server->load->down.store(false, std::memory_order_relaxed);
  }
  end_all(group);
  group.route.reset();
  share_places();
  reactor_.defer(watch_ended_);
}

void HealthChecker::begin(const ServerRef& server, Group& group, bool at_start) {
  auto target = std::make_unique<Target>(group, server);
  target->awaited = at_start;
  Target& begun = *target;
  group.targets.emplace(server->load.get(), std::move(target));
  ++group.watches;
  begun.watch = watch(begun);
  begun.watch.start();
}

void HealthChecker::end_all(Group& group) {
  for (auto& [load, target] : std::exchange(group.targets, {})) end(std::move(target));
}

// Its pause ends now, if it is in one.
void HealthChecker::end(std::unique_ptr<Target> target) {
  target->gone = true;
  no_longer_awaited(*target);
  if (target->pause != nullptr) reactor_.set_timer(*target->pause, reactor_.now());
  gone_.push_back(std::move(target));
}

void HealthChecker::no_longer_awaited(Target& target) {
  if (std::exchange(target.awaited, false) && --unchecked_ == 0) hooks_.checked_once();
}

// The checks of a server, as long as its route has it. The first check is at once; the second is at
// a random time of the interval, so that the later ones are spread.
Task<> HealthChecker::watch(Target& target) {
  Group& group = target.group;
  const std::shared_ptr<const Route> route = group.route;
  const RouteConfig& config = route->config;
  const Duration interval = to_duration(config.health_interval);
  Duration pause = random_below(interval);
  while (!target.gone) {
    co_await Place(group, most_at_once_);
    const TimePoint began = reactor_.now();
    const ServerRef server = target.server;  // its addresses may change meanwhile
    CheckOutcome outcome = co_await hooks_.check(reactor_, *server, config,
                                                 began + to_duration(config.health_timeout));
    leave_place(group);
    if (target.gone) break;
    note(target, std::move(outcome));
    Reactor::Sleep sleep(reactor_, rounded_up(began + pause, interval / kGrid));
    target.pause = &sleep;
    co_await sleep;
    target.pause = nullptr;
    pause = interval - interval / 10 + random_below(interval / 5);
  }
  reactor_.defer(watch_ended_);
}

void HealthChecker::forget_ended() {
  std::erase_if(gone_, [](const auto& target) {
    if (!target->watch.done()) return false;
    --target->group.watches;
    return true;
  });
  std::erase_if(groups_, [](const auto& each) {
    return each.second.route == nullptr && each.second.watches == 0;
  });
}

void HealthChecker::leave_place(Group& group) {
  --group.under_way;
  if (!group.waiting.empty()) reactor_.defer(place_left_);
}

// In a deferral, so that checks that end at once do not resume each other ever deeper.
void HealthChecker::serve_waiting() {
  for (auto& [number, group] : groups_) {
    while (!group.waiting.empty() && group.under_way < most_at_once_) {
      const std::coroutine_handle<> next = group.waiting.front();
      group.waiting.pop_front();
      next.resume();
    }
  }
}

void HealthChecker::note(Target& target, CheckOutcome outcome) {
  const bool first = !std::exchange(target.checked, reactor_.now()).has_value();
  if (first && outcome.result == CheckResult::failed && hooks_.listens_here(*target.server)) {
    outcome.result = CheckResult::unanswered;
  }
  target.reason = std::move(outcome.reason);
  if (target.verdict.note(outcome.result)) note_change(target);
  const bool wrong =
      outcome.result == CheckResult::failed || outcome.result == CheckResult::unanswered;
  if (wrong) hooks_.failed(*target.group.route, *target.server);
  no_longer_awaited(target);
}

void HealthChecker::note_change(const Target& target) {
  const RouteConfig& config = target.group.route->config;
  ServerLoad& load = *target.server->load;
  const bool up = target.verdict.is_up();
  load.down.store(!up, std::memory_order_relaxed);
  if (up) {
    static_cast<void>(note_success(load));  // its checks are trials enough
    target.group.route->wake_queue();
    return changes_.log(reactor_.now(), LogLevel::info, "server_up",
                        {{"route", config.name}, {"server", target.server->name}});
  }
  load.falls.fetch_add(1, std::memory_order_release);
  changes_.log(
      reactor_.now(), LogLevel::warn, "server_down",
      {{"route", config.name}, {"server", target.server->name}, {"reason", target.reason}});
  if (config.on_down == OnDown::reset) hooks_.end_sessions();
}

HealthChecker::LastChecks HealthChecker::last_checks(std::size_t route) const {
  LastChecks checks;
  const auto found = groups_.find(route);
  if (found != groups_.end()) add_last_checks(found->second, checks);
  return checks;
}

HealthChecker::LastChecks HealthChecker::all_last_checks() const {
  LastChecks checks;
  for (const auto& [number, group] : groups_) add_last_checks(group, checks);
  return checks;
}

void HealthChecker::add_last_checks(const Group& group, LastChecks& checks) const {
  for (const auto& [load, target] : group.targets) {
    LastCheck& check = checks[load];
    if (!target->checked) continue;
    check.text = target->reason.empty() ? "passed" : target->reason;
    check.age = reactor_.now() - *target->checked;
  }
}

bool checks_servers(const Route& route) {
  return route.config.health != Health::none && route.config.has_servers();
}

Duration HealthChecker::random_below(Duration bound) {
  return Duration(
      static_cast<Duration::rep>(random_.below(static_cast<std::uint64_t>(bound.count()) + 1)));
}

}  // namespace sluice
