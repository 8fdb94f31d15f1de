#include "proxy/upstream/ejection.h"

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace sluice {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr Duration kLongest = std::chrono::minutes(5);
constexpr std::uint32_t kMostDoublings = 20;  // beyond kLongest for any time that can be configured

Duration::rep instant(TimePoint time) { return time.time_since_epoch().count(); }

bool was_ejected(const ServerLoad& load) { return load.ejected_until.load(kRelaxed) != 0; }

// Whether another server is usable, and at most half of the servers are ejected if this one is; of
// backups, at most half of the backups.
bool may_be_ejected(const ServerSet& set, const Server& server, TimePoint now) {
  std::size_t count = 0;
  std::size_t ejected = 1;
  bool other_usable = false;
  for (const ServerRef& other : set.servers) {
    const bool gets_none = other->weight == 0 || !other->load->is_allowed();
    if (gets_none || (server.backup && !other->backup)) continue;
    ++count;
    if (other->load == server.load) continue;
    if (was_ejected(*other->load)) ++ejected;
    other_usable = other_usable || is_usable(*other->load, now);
  }
  return ejected <= count / 2 && other_usable;
}

// Four to six fifths of the time.
Duration spread(Duration time, balance::Random& random) {
  const auto fifth = static_cast<std::uint64_t>(time.count() / 5);
  return time - Duration(static_cast<Duration::rep>(fifth)) +
         Duration(static_cast<Duration::rep>(random.below(2 * fifth + 1)));
}

}  // namespace

bool is_ejected(const ServerLoad& load, TimePoint now) {
  return load.ejected_until.load(kRelaxed) > instant(now);
}

bool is_usable(const ServerLoad& load, TimePoint now) {
  return load.is_allowed() && !load.down.load(kRelaxed) && !is_ejected(load, now);
}

std::string_view state_name(const ServerLoad& load, TimePoint now) {
  const Order order = load.order.load(kRelaxed);
  if (load.down.load(kRelaxed) || order == Order::down) return name_of(Order::down);
  if (order == Order::drain) return name_of(order);
  return is_ejected(load, now) ? "ejected" : name_of(Order::up);
}

std::optional<bool> begin_trial(ServerLoad& load, TimePoint now, Duration time) {
  Duration::rep until = load.ejected_until.load(kRelaxed);
  if (until == 0) return false;
  if (until > instant(now)) return std::nullopt;
  const bool first =
      load.ejected_until.compare_exchange_strong(until, instant(now + time), kRelaxed);
  return first ? std::optional(true) : std::nullopt;
}

std::optional<Duration> note_failure(const ServerSet& set, const Server& server,
                                     const EjectionPolicy& policy, bool on_trial, TimePoint now,
                                     balance::Random& random) {
  ServerLoad& load = *server.load;
  load.failures.fetch_add(1, kRelaxed);
  const std::uint64_t in_row = load.failures_in_row.fetch_add(1, kRelaxed) + 1;
  const bool enough = policy.after > 0 && in_row >= policy.after && !was_ejected(load);
  if (!on_trial && (!enough || !may_be_ejected(set, server, now))) return std::nullopt;
  const std::uint32_t before = std::min(load.ejections.fetch_add(1, kRelaxed), kMostDoublings);
  const Duration time = spread(std::min(policy.time * (1 << before), kLongest), random);
  load.ejected_until.store(instant(now + time), kRelaxed);
  return time;
}

void end_trial(ServerLoad& load, TimePoint latest) {
  Duration::rep until = load.ejected_until.load(kRelaxed);
  if (until <= instant(latest)) return;
  // Another connect that decides meanwhile wins.
  load.ejected_until.compare_exchange_strong(until, instant(latest), kRelaxed);
}

bool note_success(ServerLoad& load) {
  if (load.failures_in_row.load(kRelaxed) != 0) load.failures_in_row.store(0, kRelaxed);
  if (!was_ejected(load)) return false;
  load.ejections.store(0, kRelaxed);
  return load.ejected_until.exchange(0, kRelaxed) != 0;
}

}  // namespace sluice
