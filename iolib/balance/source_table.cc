#include "iolib/balance/source_table.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstring>
#include <mutex>
#include <random>
#include <span>
#include <utility>

#include "iolib/base/hash.h"

namespace sluice::balance {
namespace {

constexpr std::size_t kFewestPlaces = 16;
// What a source may use up at once: what it gets in this time, but one connection at least.
constexpr Duration kBurst = std::chrono::seconds(1);
constexpr Duration kLookPause = std::chrono::seconds(1);

std::uint64_t random_seed() {
  std::random_device entropy;
  return std::uint64_t{entropy()} << 32 | entropy();
}

}  // namespace

SourceTable::SourceTable(std::size_t most) : most_(most), seed_(random_seed()) {}

SourceTable::Key SourceTable::key_of(const SocketAddress& source) {
  const std::span<const std::byte> host = source.host_bytes();
  assert(!host.empty());
  Key key{0, source.family() == AF_INET6};
  std::memcpy(&key.bits, host.data(), std::min(host.size(), sizeof key.bits));
  return key;
}

std::uint64_t SourceTable::hash_of(const Key& key) const {
  return finalized(finalized(key.bits ^ seed_) + (key.is_v6 ? 1 : 0));
}

// Where the key is, or where it would be.
std::size_t SourceTable::place_of(const Shard& shard, const Key& key, std::uint64_t hash) const {
  const std::size_t last = shard.entries.size() - 1;
  std::size_t place = (hash >> 8) & last;
  while (shard.entries[place].used && shard.entries[place].key != key) place = (place + 1) & last;
  return place;
}

SourceTable::Verdict SourceTable::begin(const SocketAddress& source, const SourceLimits& limits,
                                        TimePoint now) {
  const Key key = key_of(source);
  const std::uint64_t hash = hash_of(key);
  Shard& shard = shard_of(hash);
  const std::lock_guard guard(shard.lock);
  std::size_t place = 0;
  const bool is_known =
      !shard.entries.empty() && shard.entries[place = place_of(shard, key, hash)].used;
  if (!is_known) {
    if (!make_room(shard, now)) return Verdict::uncounted;
    place = place_of(shard, key, hash);
  }
  Entry& entry = shard.entries[place];
  if (limits.connections > 0 && entry.active >= limits.connections) {
    return Verdict::over_connections;
  }
  if (limits.per_minute > 0) {
    const Duration share =
        Duration(std::chrono::minutes(1)) / static_cast<Duration::rep>(limits.per_minute);
    const TimePoint full_at = std::max(entry.full_at, now) + share;
    if (full_at > now + std::max(kBurst, share)) return Verdict::over_rate;
    entry.full_at = full_at;
  }
  if (!is_known) {
    entry.used = true;
    entry.key = key;
    ++shard.used;
    size_.fetch_add(1, std::memory_order_relaxed);
  }
  ++entry.active;
  return Verdict::counted;
}

void SourceTable::end(const SocketAddress& source, TimePoint now) {
  const Key key = key_of(source);
  const std::uint64_t hash = hash_of(key);
  Shard& shard = shard_of(hash);
  const std::lock_guard guard(shard.lock);
  const std::size_t place = place_of(shard, key, hash);
  Entry& entry = shard.entries[place];
  assert(entry.used && entry.active > 0);
  --entry.active;
  if (entry.is_idle(now)) remove(shard, place);
}

// Makes room for one more. Forgets sources that have become idle before it grows.
bool SourceTable::make_room(Shard& shard, TimePoint now) {
  const bool is_full = size() >= most_;
  if (!is_full && 2 * (shard.used + 1) <= shard.entries.size()) return true;
  // A look through all of them for each client of a flood would cost too much.
  const bool looks = !is_full || now >= shard.next_look;
  if (is_full && looks) shard.next_look = now + kLookPause;
  const auto idle =
      !looks
          ? 0
          : static_cast<std::size_t>(std::ranges::count_if(
                shard.entries, [&](const Entry& each) { return each.used && each.is_idle(now); }));
  if (is_full && idle == 0) {
    was_full_.store(true, std::memory_order_relaxed);
    return false;
  }
  std::size_t places = std::max(shard.entries.size(), kFewestPlaces);
  // With half of that in use after it, the next time is far.
  while (4 * (shard.used - idle + 1) > places) places *= 2;
  if (is_full) places = std::max(shard.entries.size(), kFewestPlaces);
  rebuild(shard, places, now);
  return true;
}

void SourceTable::rebuild(Shard& shard, std::size_t places, TimePoint now) {
  const std::vector<Entry> old = std::exchange(shard.entries, std::vector<Entry>(places));
  const std::size_t before = std::exchange(shard.used, 0);
  for (const Entry& each : old) {
    if (!each.used || each.is_idle(now)) continue;
    shard.entries[place_of(shard, each.key, hash_of(each.key))] = each;
    ++shard.used;
  }
  size_.fetch_sub(before - shard.used, std::memory_order_relaxed);
}

// Closes the gap, so that no entry behind it is lost.
void SourceTable::remove(Shard& shard, std::size_t place) {
  const std::size_t last = shard.entries.size() - 1;
  --shard.used;
  size_.fetch_sub(1, std::memory_order_relaxed);
  std::size_t gap = place;
  for (std::size_t next = (gap + 1) & last; shard.entries[next].used; next = (next + 1) & last) {
    const std::size_t wanted = (hash_of(shard.entries[next].key) >> 8) & last;
    if (((next - wanted) & last) < ((next - gap) & last)) continue;
    shard.entries[gap] = shard.entries[next];
    gap = next;
  }
  shard.entries[gap] = {};
}

}  // namespace sluice::balance
