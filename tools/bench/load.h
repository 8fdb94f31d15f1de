#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "iolib/json/json.h"
#include "tools/bench/calls.h"
#include "tools/bench/net.h"
#include "tools/bench/opening.h"
#include "tools/bench/workload.h"

namespace sluice::bench {

struct LoadOptions {
  Endpoint to;         ///< the path's entrance; it leads to a Server
  double seconds = 3;  ///< measured time
  double warmup_seconds = 0.3;
  std::size_t threads = 0;                ///< of each end; 0: the workload's usual number
  std::uint64_t verify_bytes = 64 << 20;  ///< compared before a workload with streams
  bool verify_all = false;                ///< compare every byte of every stream, at some cost
  Opening opening = {};                   ///< what connections have before their Hello
  pid_t path = 0;                         ///< the forwarder, with its descendants; 0: unknown
  /// On this machine, only `path` and this program, which includes the serving end, take part in
  /// the run. Then "other_cpus" is known. If false, it is known only where the path leads to
  /// another machine.
  bool all_known = false;
  /// Counts the system calls of `path` in the measured time: see counts_calls().
  CallTool call_tool = CallTool::none;
};

/// A signal has asked the program to end (tools/common/interrupt.h).
struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

/// Runs `workload` against a Server behind `options.to`. Returns one run of the JSON document,
/// without its contender and round:
/// {"valid":true,"metrics":{…},"percentiles":{PART:[[percentile,µs],…]}}. Throws Failure if the run
/// is void, because a byte was wrong or lost or a connection failed, and Interrupted.
[[nodiscard]] json::object run_load(const LoadOptions& options, const Workload& workload);

}  // namespace sluice::bench
