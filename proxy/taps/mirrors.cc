#include "proxy/taps/mirrors.h"

#include <algorithm>
#include <random>
#include <utility>

#include "iolib/mirror/sample.h"
#include "iolib/mirror/stream.h"

namespace sluice {
namespace {

std::string_view describe(mirror::Limit limit) {
  switch (limit) {
    case mirror::Limit::lag:
      return "it lags by more than --mirror-max-lag";
    case mirror::Limit::budget:
      return "--mirror-buffers is used up";
    case mirror::Limit::hole:
      break;
  }
  return "it missed bytes";
}

mirror::StreamOptions stream_options(const RouteConfig& config, std::uint64_t connection) {
  return {.connection = connection,
          .max_lag_bytes = config.mirror_max_lag_bytes,
          .on_lag = config.mirror_on_lag,
          .connect_timeout = config.connect_timeout,
          .choose_congestion = config.congestion == Congestion::automatic};
}

}  // namespace

std::shared_ptr<mirror::Shedding> MirrorShedding::of(const std::string& address) {
  const std::lock_guard lock(mutex_);
  std::erase_if(states_, [](const auto& each) { return each.second.expired(); });
  std::weak_ptr<mirror::Shedding>& kept = states_[address];
  std::shared_ptr<mirror::Shedding> state = kept.lock();
  if (state == nullptr) kept = state = std::make_shared<mirror::Shedding>();
  return state;
}

// --- Which mirrors there are ---

WorkerMirrors::WorkerMirrors(Reactor& reactor, const std::vector<Route>& routes,
                             const MirrorOptions& options)
    : reactor_(reactor), options_(options), seed_(std::random_device()()) {
  set_routes(routes);
}

void WorkerMirrors::set_routes(const std::vector<Route>& routes) {
  std::vector<std::unique_ptr<Entry>> named;
  const auto is_there = [&](const MirrorTarget& target) {
    return std::ranges::any_of(named,
                               [&](const auto& entry) { return entry->address == target.address; });
  };
  {
    const std::lock_guard lock(mutex_);
    for (const Route& route : routes) {
      for (const MirrorTarget& target : route.mirrors) {
        if (is_there(target)) continue;
        const auto old = std::ranges::find_if(mirrors_, [&](const auto& entry) {
          return entry != nullptr && entry->address == target.address;
        });
        named.push_back(old == mirrors_.end() ? make(target) : std::move(*old));
        named.back()->is_named = true;
        named.back()->mirror->set_addresses(target.endpoints);
      }
    }
    for (std::unique_ptr<Entry>& left : mirrors_) {
      if (left == nullptr) continue;
      left->is_named = false;
      named.push_back(std::move(left));
    }
    mirrors_ = std::move(named);
    is_used_ = is_used_ || !mirrors_.empty();
  }
  share_limits();
  drop_unnamed();
}

std::unique_ptr<WorkerMirrors::Entry> WorkerMirrors::make(const MirrorTarget& target) {
  auto made = std::make_unique<Entry>();
  Entry& entry = *made;
  entry.address = target.address;
  entry.shedding = options_.shedding->of(target.address);
  entry.mirror = std::make_unique<mirror::Mirror>(
      reactor_, target.endpoints,
      mirror::Mirror::Options{.seed = seed_, .shedding = entry.shedding.get()});
  entry.mirror->on_event = [this, &entry](mirror::Event event, const mirror::Detail& detail) {
    log_event(entry, event, detail);
  };
  entry.mirror->on_failed = [this, &entry](const Error&) { on_failed(entry.address); };
  entry.mirror->on_began = [this] { on_began(); };
  entry.mirror->on_gone = [this, &entry] {
    if (!entry.is_named) reactor_.defer(*this);
    on_gone();
  };
  return made;
}

// All share the memory and the descriptors equally.
void WorkerMirrors::share_limits() {
  for (const auto& entry : mirrors_) {
    entry->mirror->set_limits(options_.buffers_bytes / mirrors_.size(),
                              std::max<std::size_t>(options_.descriptors / mirrors_.size(), 1));
  }
}

void WorkerMirrors::drop_unnamed() {
  const auto can_go = [](const auto& entry) {
    return !entry->is_named && entry->mirror->size() == 0;
  };
  if (std::ranges::none_of(mirrors_, can_go)) return;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& entry : mirrors_) {
      if (!can_go(entry)) continue;
      for (std::size_t i = 0; i < gone_.size(); ++i) {
        gone_.at(i) += entry->mirror->count(static_cast<mirror::Count>(i));
      }
    }
    std::erase_if(mirrors_, can_go);
  }
  share_limits();
}

WorkerMirrors::Entry* WorkerMirrors::find(std::string_view address) {
  const auto found =
      std::ranges::find_if(mirrors_, [&](const auto& entry) { return entry->address == address; });
  return found == mirrors_.end() ? nullptr : found->get();
}

void WorkerMirrors::update(const Route& route) {
  for (const MirrorTarget& target : route.mirrors) {
    if (Entry* const entry = find(target.address)) entry->mirror->set_addresses(target.endpoints);
  }
}

void WorkerMirrors::attach(const Route& route, std::uint64_t connection, std::uint64_t hash,
                           Pump& pump) {
  const auto share = static_cast<std::uint32_t>(route.config.mirror_sample);
  if (route.mirrors.empty() || !mirror::in_sample(hash, share)) return;
  for (const MirrorTarget& target : route.mirrors) {
    Entry* const entry = find(target.address);
    if (entry == nullptr) continue;  // no route names it any more, but the session's did
    mirror::Stream* const stream = entry->mirror->open(stream_options(route.config, connection));
    if (stream == nullptr) continue;
    stream->set_direction([&pump, stream] { pump.detach(*stream); });
    pump.attach(*stream);
  }
}

void WorkerMirrors::stop() {
  for (const auto& entry : mirrors_) entry->mirror->stop();
}

void WorkerMirrors::log_event(Entry& entry, mirror::Event event, const mirror::Detail& detail) {
  const auto say = [&](LogLevel level, std::string_view state, std::string_view reason) {
    std::vector<log::Field> fields = {
        {"address", entry.address}, {"worker", std::uint64_t{options_.worker}}, {"state", state}};
    if (!reason.empty()) fields.push_back({"reason", reason});
    log::write(level, "mirror", fields);
  };
  switch (event) {
    case mirror::Event::opened:
      return say(LogLevel::warn, "open", detail.error.to_string());
    case mirror::Event::half_opened:
      return say(LogLevel::info, "half_open", "");
    case mirror::Event::closed:
      return say(LogLevel::info, "closed", "");
    case mirror::Event::shedding:
      return say(LogLevel::warn, "shedding", "");
    case mirror::Event::caught_up:
      return say(LogLevel::info, "caught_up", "");
    case mirror::Event::paced:
      return say(LogLevel::warn, "paced", "");
    case mirror::Event::unpaced:
      return say(LogLevel::info, "unpaced", "");
    case mirror::Event::crowded:
      return say(LogLevel::warn, "crowded", "");
    case mirror::Event::uncrowded:
      return say(LogLevel::info, "uncrowded", "");
    case mirror::Event::lagged:
      return log_stream(entry, entry.lagged, "lagged", detail.connection, describe(detail.limit));
    case mirror::Event::ended:
      return log_stream(entry, entry.ended, "ended", detail.connection, detail.error.to_string());
  }
}

// Logs a stream that ended too early.
void WorkerMirrors::log_stream(const Entry& entry, Repeated& trouble, std::string_view state,
                               std::uint64_t connection, std::string_view reason) {
  const auto times = trouble.happened(reactor_.now());
  if (!times) return;
  log::warn("mirror", {{"address", entry.address},
                       {"worker", std::uint64_t{options_.worker}},
                       {"state", state},
                       {"connection", id_of(connection)},
                       {"reason", reason},
                       {"times", *times}});
}

// --- Figures ---

bool WorkerMirrors::is_used() const {
  const std::lock_guard lock(mutex_);
  return is_used_;
}

std::uint64_t WorkerMirrors::count(mirror::Count what) const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = gone_.at(static_cast<std::size_t>(what));
  for (const auto& entry : mirrors_) sum += entry->mirror->count(what);
  return sum;
}

std::vector<log::Field> mirror_sums(const std::vector<const WorkerMirrors*>& workers) {
  std::vector<log::Field> fields;
  for (std::size_t what = 0; what < mirror::kCounts; ++what) {
    std::uint64_t sum = 0;
    for (const WorkerMirrors* worker : workers) {
      sum += worker->count(static_cast<mirror::Count>(what));
    }
    fields.push_back({mirror::kCountNames[what], sum});
  }
  return fields;
}

}  // namespace sluice
