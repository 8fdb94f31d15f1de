#include "proxy/mirrors.h"

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "iolib/mirror/sample.h"
#include "iolib/mirror/stream.h"

namespace sluice {
namespace {

// The same mirror's cut streams are reported no more often than this; the statistics count all.
constexpr Duration kLagReportInterval = std::chrono::seconds(1);

mirror::StreamOptions stream_options(const RouteConfig& config) {
  return {.max_lag_bytes = config.mirror_max_lag_bytes,
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
  const mirror::Mirror::Options each{
      .budget_bytes = options.buffers_bytes / addresses.size(),
      .most_streams = std::max<std::size_t>(options.descriptors / addresses.size(), 1),
      .seed = random()};
  for (const Route& route : routes) {
    for (const MirrorTarget& target : route.mirrors) {
      if (find(target.address) == nullptr) add(target, each);
    }
  }
}

void WorkerMirrors::add(const MirrorTarget& target, const mirror::Mirror::Options& options) {
  mirrors_.push_back(std::make_unique<Entry>());
  Entry& entry = *mirrors_.back();
  entry.address = target.address;
  entry.mirror = std::make_unique<mirror::Mirror>(reactor_, target.endpoints, options);
  entry.mirror->on_event = [this, &entry](mirror::Event event) { log_event(entry, event); };
  entry.mirror->on_failed = [this, &entry](const Error& error) {
    entry.reason = error.to_string();
    on_failed(entry.address);
  };
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

void WorkerMirrors::attach(const Route& route, std::uint64_t hash, Pump& pump) {
  const auto share = static_cast<std::uint32_t>(route.config.mirror_sample);
  if (route.mirrors.empty() || !mirror::in_sample(hash, share)) return;
  for (const MirrorTarget& target : route.mirrors) {
    mirror::Stream* const stream = find(target.address)->mirror->open(stream_options(route.config));
    if (stream == nullptr) continue;
    stream->set_detach([&pump, stream] { pump.detach(*stream); });
    pump.attach(*stream);
  }
}

void WorkerMirrors::stop() {
  for (const auto& entry : mirrors_) entry->mirror->stop();
}

void WorkerMirrors::log_event(Entry& entry, mirror::Event event) {
  const auto say = [&](LogLevel level, std::string_view state, std::string_view reason) {
    std::vector<log::Field> fields = {
        {"address", entry.address}, {"worker", std::uint64_t{worker_}}, {"state", state}};
    if (!reason.empty()) fields.push_back({"reason", reason});
    log::write(level, "mirror", fields);
  };
  switch (event) {
    case mirror::Event::opened:
      return say(LogLevel::warn, "open", entry.reason);
    case mirror::Event::half_opened:
      return say(LogLevel::info, "half_open", "");
    case mirror::Event::closed:
      return say(LogLevel::info, "closed", "");
    case mirror::Event::shedding:
      return say(LogLevel::warn, "shedding", "");
    case mirror::Event::caught_up:
      return say(LogLevel::info, "caught_up", "");
    case mirror::Event::crowded:
      return say(LogLevel::warn, "crowded", "");
    case mirror::Event::uncrowded:
      return say(LogLevel::info, "uncrowded", "");
    case mirror::Event::lagged:
      break;
  }
  const TimePoint now = reactor_.now();
  if (now < entry.next_lag_report) return;
  entry.next_lag_report = now + kLagReportInterval;
  say(LogLevel::warn, "lagged", "a connection's mirror was cut");
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
