#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace sluice::capture {

/// The counters of a recorder: written by its thread, read by any.
struct RecorderCounters {
  /// One thread writes, so no locked instruction is needed.
  struct Count : std::atomic<std::uint64_t> {
    template <class Number>
    void set(Number value) {
      store(static_cast<std::uint64_t>(value), std::memory_order_relaxed);
    }
    void add(std::uint64_t amount) { set(load(std::memory_order_relaxed) + amount); }
  };

  Count recorded_bytes;
  std::array<Count, 6> dropped_bytes;  ///< by GapReason
  Count lag_bytes;  ///< recorded, but not yet written or durable as the durability asks
  Count blocks_in_use;
  Count segments;
  Count disk_failures;
  Count segments_refused;  ///< segments that could not be made because the disk is full or broken
  Count seal_failures;
  Count lost_connections;
  Count syncs;
  Count sync_ns;
  Count longest_sync_ns;
};

}  // namespace sluice::capture
