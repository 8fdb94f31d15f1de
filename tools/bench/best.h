#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sluice::bench {

/// One contender's result in one column.
struct Candidate {
  std::optional<double> median = {};
  double valid = 0;  ///< number of valid runs
  bool competes = false;
};

/// Marks the best candidates. Only those compete that have `competes`, a median, and as many valid
/// runs as any other competitor. The best are the one with the best median and all others that read
/// the same (`shown`). None is marked if all read the same, or only one competes.
[[nodiscard]] std::vector<bool> best_of(const std::vector<Candidate>& candidates,
                                        bool higher_is_better,
                                        const std::function<std::string(double)>& shown);

}  // namespace sluice::bench
