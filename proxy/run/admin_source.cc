#include "proxy/run/admin_source.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>

#include "proxy/log/log.h"
#include "proxy/run/gather.h"

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

// Asks each worker on its thread.
template <class Answer, class Ask>
void ask_all(const Workers& workers, const Ask& ask,
             std::function<void(std::vector<Answer>)> done) {
  const auto question = [&ask](WorkerThread& thread, std::function<void(Answer)> answer) {
    Worker& worker = thread.worker();
    worker.reactor().post([&worker, ask, answer = std::move(answer)] { ask(worker, answer); });
  };
  ask_each<Answer>(workers, question, std::move(done));
}

// What is counted for the whole process.
constexpr auto kProcessNumbers =
    std::to_array({&admin::Figures::pipe_shortages, &admin::Figures::accept_pauses,
                   &admin::Figures::log_lines_dropped});
const std::vector<std::string> kProcessNames = {"pipe_shortages", "accept_pauses",
                                                "log_lines_dropped"};

// The numbers of a thing in the order of `names`; empty if it is not there.
std::vector<std::uint64_t> numbers_of(const takeover::Totals& totals, const std::string& kind,
                                      const std::string& thing,
                                      const std::vector<std::string>& names) {
  takeover::Totals ordered;
  ordered[kind].names = names;
  takeover::Totals one;
  const auto found = totals.find(kind);
  if (found == totals.end() || !found->second.values.contains(thing)) return {};
  one[kind].names = found->second.names;
  one[kind].values[thing] = found->second.values.at(thing);
  takeover::add(ordered, one);
  return std::move(ordered[kind].values[thing]);
}

// What only grows, with its names in a takeover.
struct Number {
  std::string name;
  std::uint64_t* value;
};
std::vector<Number> numbers_in(admin::CaptureFigures& figures) {
  std::vector<Number> numbers = {{"recorded_bytes", &figures.recorded_bytes},
                                 {"lost_connections", &figures.lost_connections},
                                 {"disk_failures", &figures.disk_failures},
                                 {"segments", &figures.segments}};
  for (std::size_t i = 0; i < figures.dropped_bytes.size(); ++i) {
    numbers.push_back({"dropped_bytes_" + std::to_string(i), &figures.dropped_bytes[i]});
  }
  return numbers;
}
std::vector<Number> numbers_in(admin::MirrorFigures& figures) {
  std::vector<Number> numbers;
  for (std::size_t i = 0; i < figures.counts.size(); ++i) {
    const auto what = static_cast<mirror::Count>(i);
    if (what == mirror::Count::active || what == mirror::Count::lag ||
        what == mirror::Count::waiting) {
      continue;
    }
    numbers.push_back({std::string(mirror::kCountNames.at(i)), &figures.counts[i]});
  }
  return numbers;
}

// Adds what processes have counted that this one has replaced; or takes it away again.
enum class Inherited { add, take_away };
template <class Figures>
void apply_inherited(Figures& figures, const std::string& thing, const takeover::Totals& inherited,
                     const std::string& kind, Inherited how) {
  const std::vector<Number> numbers = numbers_in(figures);
  std::vector<std::string> names;
  for (const Number& each : numbers) names.push_back(each.name);
  const std::vector<std::uint64_t> more = numbers_of(inherited, kind, thing, names);
  for (std::size_t i = 0; i < std::min(more.size(), numbers.size()); ++i) {
    *numbers[i].value += how == Inherited::add ? more[i] : std::uint64_t{0} - more[i];
  }
}

template <class Figures>
void put_numbers(Figures& figures, const std::string& thing, takeover::Counted& to) {
  const std::vector<Number> numbers = numbers_in(figures);
  to.names.clear();
  for (const Number& each : numbers) to.names.push_back(each.name);
  for (const Number& each : numbers) to.values[thing].push_back(*each.value);
}

bool any(const std::vector<bool>& answers) {
  return std::ranges::find(answers, true) != answers.end();
}

void kill_anywhere(const Workers& workers, std::uint64_t number,
                   const std::function<void(bool)>& done) {
  ask_all<bool>(
      workers,
      [number](Worker& worker, const std::function<void(bool)>& answer) {
        worker.kill_session(number, answer);
      },
      [done](const std::vector<bool>& answers) { done(any(answers)); });
}

}  // namespace

std::optional<admin::Figures> DaemonSource::figures() const {
  if (state() == admin::RunState::starting) return std::nullopt;
  admin::Figures figures;
  figures.engine = machine_.uring ? "uring" : "epoll";
  figures.workers = machine_.workers;
  figures.connections = sum_of(workers_, &WorkerStats::active);
  figures.connections_limit = connections_limit_;
  figures.pipe_slots = pool_.slots_in_use();
  figures.pipe_slots_limit = pipe_slots_limit_;
  figures.pipe_shortages = sum_of(workers_, &WorkerStats::pipe_shortages);
  figures.accept_pauses = sum_of(workers_, &WorkerStats::accept_pauses);
  figures.log_lines_dropped = log::dropped_lines();
  const std::vector<std::uint64_t> more =
      numbers_of(inherited(), "process", "process", kProcessNames);
  for (std::size_t i = 0; i < std::min(more.size(), kProcessNumbers.size()); ++i) {
    figures.*kProcessNumbers[i] += more[i];
  }
  return figures;
}

takeover::Totals DaemonSource::own_totals() const {
  takeover::Totals totals;
  const std::optional<admin::Figures> all = figures();
  if (!all) return totals;
  std::vector<std::uint64_t> less = numbers_of(inherited(), "process", "process", kProcessNames);
  less.resize(kProcessNumbers.size());
  takeover::Counted& process = totals["process"];
  process.names = kProcessNames;
  std::vector<std::uint64_t>& numbers = process.values["process"];
  for (std::size_t i = 0; i < kProcessNumbers.size(); ++i) {
    numbers.push_back(*all.*kProcessNumbers[i] - less[i]);
  }
  const takeover::Totals more = inherited();
  for (admin::CaptureFigures& each : captures()) {
    apply_inherited(each, each.directory, more, "capture", Inherited::take_away);
    put_numbers(each, each.directory, totals["capture"]);
  }
  for (admin::MirrorFigures& each : mirrors()) {
    apply_inherited(each, each.address, more, "mirror", Inherited::take_away);
    put_numbers(each, each.address, totals["mirror"]);
  }
  return totals;
}

void DaemonSource::inherit(const takeover::Totals& totals) {
  takeover::Totals kept = totals;
  kept.erase("route");
  kept.erase("server");
  const std::lock_guard lock(mutex_);
  inherited_.swap(kept);
}

takeover::Totals DaemonSource::inherited() const {
  const std::lock_guard lock(mutex_);
  return inherited_;
}

void DaemonSource::set_config(std::shared_ptr<const Config> config) {
  const std::lock_guard lock(mutex_);
  config_.swap(config);
}

void DaemonSource::reloaded(const admin::ReloadResult& result) {
  const auto now = std::chrono::system_clock::now();
  const std::lock_guard lock(mutex_);
  reloads_.last = {now, result.outcome,
                   result.errors.empty() ? std::string() : result.errors.front()};
  if (reloads_.last_successful()) reloads_.succeeded = now;
}

void DaemonSource::set_predecessors(std::vector<admin::Predecessor> predecessors) {
  const std::lock_guard lock(mutex_);
  predecessors_.swap(predecessors);
}

std::shared_ptr<const Config> DaemonSource::config() const {
  const std::lock_guard lock(mutex_);
  return config_;
}

admin::Reloads DaemonSource::reloads() const {
  const std::lock_guard lock(mutex_);
  return reloads_;
}

std::vector<admin::Predecessor> DaemonSource::predecessors() const {
  const std::lock_guard lock(mutex_);
  return predecessors_;
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
  const auto known =
      std::ranges::find(routes_, route.number, [](const auto& each) { return each->number; });
  // The old one goes after the lock.
  if (known != routes_.end()) known->swap(copy);
}

admin::Routes DaemonSource::routes() const {
  const std::lock_guard lock(mutex_);
  return routes_;
}

// One that has no recorder any more on one worker may still have one on another.
std::vector<admin::CaptureFigures> DaemonSource::captures() const {
  std::vector<admin::CaptureFigures> captures;
  if (state() == admin::RunState::starting) return captures;
  for (const auto& each : captures_.all()) captures.push_back({.directory = each->path()});
  for (const auto& worker : workers_) {
    worker->worker().capture().for_each(
        [&](const std::string& path, const capture::RecorderCounters& counters) {
          const auto figures = std::ranges::find(captures, path, &admin::CaptureFigures::directory);
          if (figures != captures.end()) add(*figures, counters);
        });
  }
  const takeover::Totals more = inherited();
  for (admin::CaptureFigures& each : captures) {
    apply_inherited(each, each.directory, more, "capture", Inherited::add);
  }
  return captures;
}

// The same holds for mirrors.
std::vector<admin::MirrorFigures> DaemonSource::mirrors() const {
  std::vector<admin::MirrorFigures> mirrors;
  if (state() == admin::RunState::starting) return mirrors;
  for (const auto& worker : workers_) {
    worker->worker().mirrors().for_each(
        [&](const std::string& address, const mirror::Mirror& each) {
          auto figures = std::ranges::find(mirrors, address, &admin::MirrorFigures::address);
          if (figures == mirrors.end()) {
            figures = mirrors.insert(figures, {.address = address});
          }
          add(*figures, each);
        });
  }
  const takeover::Totals more = inherited();
  for (admin::MirrorFigures& each : mirrors) {
    apply_inherited(each, each.address, more, "mirror", Inherited::add);
  }
  return mirrors;
}

void DaemonSource::get_checks(std::function<void(admin::Checks)> take) const {
  if (state() == admin::RunState::starting || !health_->is_running()) return take({});
  health_->get_last_checks([take = std::move(take)](HealthChecker::LastChecks&& last) {
    admin::Checks checks;
    for (auto& [load, check] : last) {
      if (check.text != HealthChecker::kNoCheck) {
        checks[load] = {std::move(check.text), check.age};
      }
    }
    take(std::move(checks));
  });
}

void DaemonSource::list_connections(SessionQuery query,
                                    std::function<void(const SessionPage&)> done) const {
  if (state() == admin::RunState::starting) return done({});
  const std::size_t limit = query.limit;
  ask_all<SessionPage>(
      workers_,
      [query = std::move(query)](Worker& worker, std::function<void(SessionPage)> answer) {
        worker.list_sessions(query, std::move(answer));
      },
      [limit, done = std::move(done)](std::vector<SessionPage> pages) {
        done(joined(std::move(pages), limit));
      });
}

// One that is on its way from a worker to another is missed by both. It moves once, and the second
// question comes after its arrival.
void DaemonSource::kill_connection(std::string id, std::function<void(bool)> done) const {
  if (state() == admin::RunState::starting) return done(false);
  const std::optional<std::uint64_t> number = workers_.front()->worker().session_number(id);
  if (!number) return done(false);
  const auto found = [id = std::move(id), done = std::move(done)](bool was_there) {
    if (was_there) log::print("operator", {{"change", "kill"}, {"connection", id}});
    done(was_there);
  };
  kill_anywhere(workers_, *number, [this, number, found](bool was_there) {
    was_there ? found(true) : kill_anywhere(workers_, *number, found);
  });
}

}  // namespace sluice
