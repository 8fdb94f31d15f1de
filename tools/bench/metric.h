#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/workload.h"

namespace sluice::bench {

/// One figure of a run.
struct Metric {
  std::string key;    ///< in the JSON document; "PART.key" if a workload has several parts
  std::string title;  ///< heading, with its unit
  bool higher_is_better = true;
  int digits = 2;
  bool compared = true;  ///< a ratio to the baseline is meaningful
};

/// The figures of a workload, the most important one first. `local` is false if the path's CPU time
/// and memory are unknown. `calls`: its system calls are counted.
[[nodiscard]] std::vector<Metric> metrics_of(const Workload& workload, bool local,
                                             bool calls = false);

/// Whether system calls can be counted for each unit of the workload: it has one part, which moves
/// something.
[[nodiscard]] bool counts_calls(const Workload& workload);
/// The key of that figure.
[[nodiscard]] std::string calls_key(const Part& part);

/// The percentiles at which a latency is reported.
inline constexpr double kPercentiles[] = {0,  10,   25,   50,    75,    90,     95,
                                          99, 99.5, 99.9, 99.95, 99.99, 99.999, 100};

}  // namespace sluice::bench
