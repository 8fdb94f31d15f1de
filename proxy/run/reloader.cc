#include "proxy/run/reloader.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "iolib/base/shortage.h"
#include "proxy/log/log.h"
#include "proxy/run/gather.h"
#include "proxy/run/run_id.h"
#include "proxy/run/summary.h"
#include "proxy/upstream/resolve.h"

namespace sluice {
namespace {

using Outcome = admin::ReloadResult::Outcome;

void log_result(const admin::ReloadResult& result, std::size_t routes) {
  const bool holds = result.outcome == Outcome::applied || result.outcome == Outcome::unchanged;
  if (holds) {
    log::print("reloaded", {{"routes", std::uint64_t{routes}},
                            {"changed", std::uint64_t{result.changes.size()}}});
    return;
  }
  for (const std::string& each : result.errors) log::error("reload_refused", {{"reason", each}});
}

Error ends(const Control& control) {
  return Error{0, control.is_handed_over() ? "another process has taken over: ask that one"
                                           : "the daemon ends"};
}

// A key of both that has another value now.
template <class Value>
std::optional<Value> changed(const Value& from, const Value& to) {
  return from == to ? std::nullopt : std::optional(to);
}

}  // namespace

Reloader::Reloader(Daemon daemon, std::vector<std::string> arguments)
    : daemon_(std::move(daemon)),
      arguments_(std::move(arguments)),
      open_(addresses_of(*daemon_.control.config())),
      next_group_(open_.size()) {}

void Reloader::reload(bool dry_run, Done done) {
  requests_.push_back({dry_run, std::move(done)});
  if (requests_.size() == 1) begin();
}

// One reload for all requests at the front that want the same.
void Reloader::begin() {
  if (requests_.empty()) return;
  if (!daemon_.control.begin_change([this] { begin(); })) return;
  const bool dry_run = requests_.front().dry_run;
  running_ = static_cast<std::size_t>(std::ranges::find(requests_, !dry_run, &Request::dry_run) -
                                      requests_.begin());
  if (daemon_.control.is_ending()) return refuse(ends(daemon_.control));
  ReloadInput input{.arguments = arguments_,
                    .current = daemon_.control.config(),
                    .open = open_,
                    .bound = daemon_.listeners.bound,
                    .next_group = next_group_,
                    .workers = daemon_.workers.size(),
                    .captures = daemon_.captures,
                    .run = run_id()};
  if (!dry_run) daemon_.begins();
  const auto found = std::make_shared<PreparedReload>();
  const Result<> started = daemon_.control.run_apart(
      [found, input = std::move(input)] {
        Result<> done = or_shortage([&]() -> Result<> {
          *found = prepare_reload(input);
          return {};
        });
        if (done.has_error()) {
          found->result = {Outcome::refused, {}, {done.error().to_string()}};
        }
      },
      [this, found] { prepared(std::move(*found)); });
  if (started.has_error()) refuse(started.error());
}

void Reloader::prepared(PreparedReload reload) {
  reload_ = std::move(reload);
  if (reload_.result.outcome != Outcome::applied) return finish();
  look_ups_ =
      std::make_unique<LookUps>(reload_.config, daemon_.control.look_ups(), reload_.diff.continues);
  look_ups_->resolve([this](const Result<>& result) { resolved(result); });
}

void Reloader::resolved(const Result<>& result) {
  if (result.has_error()) return refuse(result.error());
  if (daemon_.control.is_ending()) return refuse(ends(daemon_.control));
  prepare_taps();
}

void Reloader::prepare_taps() {
  const auto plan = std::make_shared<const CapturePlan>(reload_.captures);
  ask_each<Result<>>(
      daemon_.workers,
      [plan](WorkerThread& worker, std::function<void(Result<>)> answer) {
        worker.prepare_taps(plan, std::move(answer));
      },
      [this](const std::vector<Result<>>& answers) {
        const auto failed = std::ranges::find_if(answers, &Result<>::has_error);
        daemon_.control.post([this, result = failed == answers.end() ? Result<>() : *failed] {
          taps_prepared(result);
        });
      });
}

void Reloader::taps_prepared(const Result<>& result) {
  Result<> ready = result;
  const bool dry_run = requests_.front().dry_run;
  if (ready && daemon_.control.is_ending()) ready = ends(daemon_.control);
  if (ready && !dry_run) ready = or_shortage([this] { return make_ready(); });
  if (ready && !dry_run) return commit();
  for (const auto& worker : daemon_.workers) worker->undo_taps();
  ready ? finish() : refuse(ready.error());
}

void Reloader::refuse(const Error& error) {
  reload_.result.outcome = Outcome::refused;
  reload_.result.errors.push_back(error.to_string());
  finish();
}

// The last steps that can fail. Between the look-ups and now, the old ones may have learned more.
Result<> Reloader::make_ready() {
  auto current =
      std::make_unique<LookUps>(reload_.config, daemon_.control.look_ups(), reload_.diff.continues);
  current->adopt_resolved(*look_ups_);
  look_ups_ = std::move(current);
  look_ups_->start_file_threads();
  if (!daemon_.health.is_running() && std::ranges::any_of(look_ups_->routes(), checks_servers)) {
    if (Result<> started = daemon_.health.start({}); started.has_error()) return started;
  }
  Result<> listening = reload_.sockets.listen(daemon_.machine.cpus);
  if (listening.has_error()) reload_.sockets.remove_unix_paths();
  return listening;
}

void Reloader::commit() {
  const std::shared_ptr<const WorkerChange> change = worker_change();
  const std::function<void()> done = after_all([this, change] { apply(change); });
  for (const auto& worker : daemon_.workers) worker->prepare_change(change, done);
}

// To be called by each worker; then `next` follows here.
std::function<void()> Reloader::after_all(std::function<void()> next) const {
  return last_of(daemon_.workers.size(),
                 [this, next = std::move(next)] { daemon_.control.post(next); });
}

void Reloader::apply(const std::shared_ptr<const WorkerChange>& change) {
  const std::shared_ptr<const Config> from = daemon_.control.config();
  daemon_.captures->commit(reload_.captures);
  change_process(*from);
  change_workers(change);
  change_routes(*change);
  change_listeners();
  daemon_.captures->log_new();
}

std::shared_ptr<const WorkerChange> Reloader::worker_change() const {
  auto change = std::make_shared<WorkerChange>();
  const Config& from = *daemon_.control.config();
  const std::vector<Route>& old_routes = daemon_.control.routes();
  const std::vector<Route>& routes = look_ups_->routes();
  change->captures = reload_.captures;
  change->all_routes = routes;
  std::vector<bool> stays(old_routes.size());
  for (std::size_t index = 0; index < routes.size(); ++index) {
    const std::optional<std::size_t> continued = reload_.diff.continues[index];
    if (continued) stays[*continued] = true;
    if (reload_.diff.differs[index]) change->routes.changed.push_back(routes[index]);
  }
  for (std::size_t index = 0; index < old_routes.size(); ++index) {
    if (!stays[index]) change->routes.removed.push_back(old_routes[index].number);
  }
  const std::uint64_t connections = connections_of(*reload_.config, daemon_.machine);
  change->listeners.restarts =
      accepts_one_by_one(*reload_.config, connections) != daemon_.shared.places.one_by_one();
  for (const OpenAddress& each : reload_.listeners.kept) {
    const RouteConfig& route = reload_.config->routes[each.route];
    const auto before = std::ranges::find(open_, each.group, &OpenAddress::group);
    const RouteConfig& old_route = from.routes[before->route];
    change->listeners.stay[each.group] = {
        .route = routes[each.route].number,
        .congestion = changed(old_route.congestion, route.congestion),
        .sink = changed(is_sink(old_route), is_sink(route))};
  }
  return change;
}

// The process's own settings. What an operator has changed since the last reload stays, unless the
// file changes it, too.
void Reloader::change_process(const Config& from) {
  const Config& to = *reload_.config;
  if (from.log_level != to.log_level) log::set_level(to.log_level);
  daemon_.machine.connections = connections_of(to, daemon_.machine);
  daemon_.shared.places.set(daemon_.machine.connections,
                            accepts_one_by_one(to, daemon_.machine.connections));
  daemon_.source.set_connections_limit(daemon_.machine.connections);
  for (std::size_t index = 0; index < to.routes.size(); ++index) {
    const std::optional<std::size_t> continued = reload_.diff.continues[index];
    if (!continued) continue;
    const RouteConfig& old_route = from.routes[*continued];
    const RouteConfig& route = to.routes[index];
    const bool is_new = old_route.capture != route.capture;
    if (is_new || is_sink(route) || old_route.capture_enabled != route.capture_enabled) {
      look_ups_->routes()[index].stats->capture_enabled = route.capture_enabled;
    }
  }
}

void Reloader::change_workers(const std::shared_ptr<const WorkerChange>& change) {
  std::vector<std::vector<ListenSocket>> added(daemon_.workers.size());
  for (ListenSocket& socket : std::exchange(reload_.sockets.sockets, {})) {
    socket.route = look_ups_->routes()[socket.route].number;
    added[socket.worker].push_back(std::move(socket));
  }
  const std::function<void()> done = after_all([this] { committed(); });
  for (std::size_t index = 0; index < daemon_.workers.size(); ++index) {
    daemon_.workers[index]->change(change, std::move(added[index]), done);
  }
}

// For the other threads.
void Reloader::change_routes(const WorkerChange& change) {
  for (const Route& route : daemon_.control.routes()) {
    const auto& removed = change.routes.removed;
    if (std::ranges::find(removed, route.number) == removed.end()) continue;
    daemon_.removed.add(route);
    if (daemon_.health.is_running()) daemon_.health.remove(route.number);
  }
  if (daemon_.health.is_running()) {
    for (const Route& route : change.routes.changed) daemon_.health.update(route);
  }
  report_unresolved(*look_ups_);
  daemon_.source.set_routes(look_ups_->routes());
  daemon_.source.set_config(reload_.config);
  daemon_.control.use(reload_.config, std::move(look_ups_));
}

void Reloader::change_listeners() {
  ListenSockets& all = daemon_.listeners;
  const ListenPlan& plan = reload_.listeners;
  for (const OpenAddress& each : plan.removed) {
    const auto* path = std::get_if<UnixEndpoint>(&each.address);
    if (path != nullptr) all.remove_unix_path(path->path);
    std::erase_if(all.bound, [&](const auto& bound) { return bound.group == each.group; });
  }
  ListenSockets& added = reload_.sockets;
  report_bound(*reload_.config, added);
  report_passed_over(*reload_.config, added);
  all.bound.insert(all.bound.end(), added.bound.begin(), added.bound.end());
  all.unix_paths.insert(all.unix_paths.end(), added.unix_paths.begin(), added.unix_paths.end());
  open_ = plan.kept;
  open_.insert(open_.end(), plan.added.begin(), plan.added.end());
  next_group_ += plan.added.size();
}

// All workers have applied it.
void Reloader::committed() {
  for (const auto& worker : daemon_.workers) worker->end_change();
  finish();
}

void Reloader::finish() {
  PreparedReload reload = std::exchange(reload_, {});
  look_ups_.reset();
  daemon_.control.end_change();
  const bool dry_run = requests_.front().dry_run;
  if (!dry_run) {
    daemon_.source.reloaded(reload.result);
    log_result(reload.result, daemon_.control.routes().size());
    if (!daemon_.control.is_ending()) daemon_.ended();
  }
  const auto end = requests_.begin() + static_cast<std::ptrdiff_t>(std::exchange(running_, 0));
  std::vector<Request> answered(std::move_iterator(requests_.begin()), std::move_iterator(end));
  requests_.erase(requests_.begin(), end);
  for (const Request& each : answered) {
    if (each.done) each.done(reload.result);
  }
  begin();
}

}  // namespace sluice
