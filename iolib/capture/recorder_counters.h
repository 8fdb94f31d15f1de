#pragma once

#include <array>

#include "iolib/base/tally.h"

namespace sluice::capture {

/// The counters of a recorder: written by its thread, read by any.
struct RecorderCounters {
  Tally recorded_bytes;
  std::array<Tally, 6> dropped_bytes;  ///< by GapReason
  Tally lag_bytes;  ///< recorded, but not yet written or durable as the durability asks
  Tally blocks_in_use;
  Tally segments;
  Tally disk_failures;
  Tally segments_refused;  ///< segments that could not be made because the disk is full or broken
  Tally seal_failures;
  Tally lost_connections;
  Tally syncs;
  Tally sync_ns;
  Tally longest_sync_ns;
};

}  // namespace sluice::capture
