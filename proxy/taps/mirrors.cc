#include "proxy/taps/mirrors.h"

#include <algorithm>
#include <random>
#include <set>
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

WorkerMirrors::WorkerMirrors(Reactor& reactor, const std::vector<Route>& routes,
                             const MirrorOptions& options)
    : reactor_(reactor), worker_(options.worker) {
  std::set<std::string_view> addresses;
  for (const Route& route : routes) {
    for (const MirrorTarget& target : route.mirrors) addresses.insert(target.address);
  }
  if (addresses.empty()) return;
  std::random_device random;
  mirror::Mirror::Options each{
      .budget_bytes = options.buffers_bytes / addresses.size(),
      .most_streams = std::max<std::size_t>(options.descriptors / addresses.size(), 1),
      .seed = random()};
  for (const Route& route : routes) {
    for (const MirrorTarget& target : route.mirrors) {
      if (find(target.address) != nullptr) continue;
      each.shedding = &options.shedding->at(target.address);
      add(target, each);
    }
  }
}

void WorkerMirrors::add(const MirrorTarget& target, const mirror::Mirror::Options& options) {
  mirrors_.push_back(std::make_unique<Entry>());
  Entry& entry = *mirrors_.back();
  entry.address = target.address;
  entry.mirror = std::make_unique<mirror::Mirror>(reactor_, target.endpoints, options);
  entry.mirror->on_event = [this, &entry](mirror::Event event, const mirror::Detail& detail) {
    log_event(entry, event, detail);
  };
  entry.mirror->on_failed = [this, &entry](const Error&) { on_failed(entry.address); };
  entry.mirror->on_began = [this] { on_began(); };
  entry.mirror->on_gone = [this] { on_gone(); };
}

WorkerMirrors::Entry* WorkerMirrors::find(std::string_view address) {
  const auto found =
      std::ranges::find_if(mirrors_, [&](const auto& entry) { return entry->address == address; });
  return found == mirrors_.end() ? nullptr : found->get();
}

void WorkerMirrors::update(const Route& route) {
  for (const MirrorTarget& target : route.mirrors) {
    find(target.address)->mirror->set_addresses(target.endpoints);
  }
}

void WorkerMirrors::attach(const Route& route, std::uint64_t connection, std::uint64_t hash,
                           Pump& pump) {
  const auto share = static_cast<std::uint32_t>(route.config.mirror_sample);
  if (route.mirrors.empty() || !mirror::in_sample(hash, share)) return;
  for (const MirrorTarget& target : route.mirrors) {
    mirror::Stream* const stream =
        find(target.address)->mirror->open(stream_options(route.config, connection));
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
        {"address", entry.address}, {"worker", std::uint64_t{worker_}}, {"state", state}};
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
                       {"worker", std::uint64_t{worker_}},
                       {"state", state},
                       {"connection", id_of(connection)},
                       {"reason", reason},
                       {"times", *times}});
}

std::uint64_t WorkerMirrors::count(mirror::Count what) const {
  std::uint64_t sum = 0;
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
