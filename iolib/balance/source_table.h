#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/clock.h"
#include "iolib/base/spinlock.h"

namespace sluice::balance {

/// What one source may do.
struct SourceLimits {
  std::uint64_t connections = 0;  ///< at a time; 0: no limit
  std::uint64_t per_minute = 0;   ///< new ones; 0: no limit
};

/// Counts the connections of each source: an IPv4 address, or the first 64 bits of an IPv6 address.
/// Any thread; looked at when a connection begins and when it ends.
class SourceTable {
 public:
  static constexpr std::size_t kMostSources = 1'000'000;

  /// `most`: sources beyond are not counted.
  explicit SourceTable(std::size_t most = kMostSources);

  enum class Verdict : std::uint8_t {
    counted,           ///< it may come in; end() must follow
    uncounted,         ///< it may come in, since the table is full
    over_connections,  ///< it has as many as it may
    over_rate,         ///< it begins more than it may
  };
  /// A connection of this source, which is not the unnamed address, wants to begin.
  [[nodiscard]] Verdict begin(const SocketAddress& source, const SourceLimits& limits,
                              TimePoint now);
  /// A counted connection has ended.
  void end(const SocketAddress& source, TimePoint now);

  /// The sources that it knows: those with connections, and those whose rate it remembers.
  [[nodiscard]] std::size_t size() const { return size_.load(std::memory_order_relaxed); }
  /// Whether it has ever been full.
  [[nodiscard]] bool was_full() const { return was_full_.load(std::memory_order_relaxed); }
  /// True once, after it was full for the first time.
  [[nodiscard]] bool take_overflow() { return was_full() && !told_.exchange(true); }

 private:
  struct Key {
    std::uint64_t bits = 0;
    bool is_v6 = false;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Entry {
    Key key;
    bool used = false;
    std::uint32_t active = 0;
    /// When the source will have its full burst again: each connection moves it by its share of
    /// time.
    TimePoint full_at;
    [[nodiscard]] bool is_idle(TimePoint now) const { return active == 0 && full_at <= now; }
  };
  /// An open hash table with linear probing. At most half of it is used.
  struct alignas(64) Shard {
    Spinlock lock;
    std::size_t used = 0;
    TimePoint next_look;  ///< for idle sources, while the table is full
    std::vector<Entry> entries;
  };

  static Key key_of(const SocketAddress& source);
  [[nodiscard]] std::uint64_t hash_of(const Key& key) const;
  [[nodiscard]] Shard& shard_of(std::uint64_t hash) { return shards_[hash % shards_.size()]; }
  [[nodiscard]] std::size_t place_of(const Shard& shard, const Key& key, std::uint64_t hash) const;
  [[nodiscard]] bool make_room(Shard& shard, TimePoint now);
  void rebuild(Shard& shard, std::size_t places, TimePoint now);
  void remove(Shard& shard, std::size_t place);

  const std::size_t most_;
  const std::uint64_t seed_;  ///< so that nobody can choose addresses that collide
  std::array<Shard, 256> shards_;
  alignas(64) std::atomic<std::size_t> size_{0};
  std::atomic<bool> was_full_{false};
  std::atomic<bool> told_{false};
};

}  // namespace sluice::balance
