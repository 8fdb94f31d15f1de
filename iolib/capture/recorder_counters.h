#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace sluice::capture {

/// What is counted: written by the recorder's thread, read by any.
struct RecorderCounters {
  /// With one writer, which needs no locked instruction.
  struct Count : std::atomic<std::uint64_t> {
    template <class Number>
    void set(Number value) {
      store(static_cast<std::uint64_t>(value), std::memory_order_relaxed);
    }
    void add(std::uint64_t amount) { set(load(std::memory_order_relaxed) + amount); }
  };

  Count recorded_bytes;
  std::array<Count, 6> dropped_bytes;  ///< by GapReason
  Count lag_bytes;                     ///< recorded and not yet on the disk as the durability asks
  Count blocks_in_use;
  Count segments;
  Count disk_failures;
  Count segments_refused;  ///< segments that could not be made, the disk being full or broken
  Count seal_failures;
  Count lost_connections;
  Count syncs;
  Count sync_ns;
  Count longest_sync_ns;
};

}  // namespace sluice::capture
