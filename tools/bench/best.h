#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sluice::bench {

/// What one contender has in one column.
struct Candidate {
  std::optional<double> median = {};
  double valid = 0;  ///< runs
  bool competes = false;
};

/// Which of them are best: of those that compete and have as many valid runs as any that does, the
/// one that is ahead, and all that read the same as it (`shown`). None where they all read the
/// same, or there is but one.
[[nodiscard]] std::vector<bool> best_of(const std::vector<Candidate>& candidates,
                                        bool higher_is_better,
                                        const std::function<std::string(double)>& shown);

}  // namespace sluice::bench
