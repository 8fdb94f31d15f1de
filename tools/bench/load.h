#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "tools/bench/net.h"
#include "tools/bench/workload.h"
#include "tools/common/json.h"

namespace sluice::bench {

struct LoadOptions {
  Endpoint to;         ///< what leads to a Server
  double seconds = 3;  ///< measured
  double warmup_seconds = 0.3;
  std::size_t threads = 0;                ///< of each end; 0: as many as the workload usually has
  std::uint64_t verify_bytes = 64 << 20;  ///< compared byte by byte before a workload with streams
  bool verify_all = false;                ///< every byte of every stream is compared, at some cost
  pid_t path = 0;  ///< the process that, with its descendants, forwards; 0: nobody knows
  /// Nothing else than it and this program has a part in the run, the serving end included. Else
  /// that is so only where the path leads to another machine.
  bool all_known = false;
};

/// Somebody asked the program to end: a SIGINT or SIGTERM, see interrupt.h.
struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

/// Runs `workload` against a Server behind `options.to` and returns what was measured: one run of
/// the JSON document, without the contender and the round: {"valid":true,"metrics":{…},
/// "percentiles":{PART:[[percentile,µs],…]}}. Throws Failure where the run is void: a byte was
/// wrong or lost, or a connection failed; and Interrupted.
[[nodiscard]] json::object run_load(const LoadOptions& options, const Workload& workload);

}  // namespace sluice::bench
