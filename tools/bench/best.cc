#include "tools/bench/best.h"

#include <algorithm>

namespace sluice::bench {

std::vector<bool> best_of(const std::vector<Candidate>& candidates, bool higher_is_better,
                          const std::function<std::string(double)>& shown) {
  double most_valid = 0;
  for (const Candidate& each : candidates) {
    if (each.competes) most_valid = std::max(most_valid, each.valid);
  }
  const auto counts = [&](const Candidate& each) {
    return each.median && each.competes && each.valid >= most_valid;
  };
  std::optional<double> best;
  std::size_t competing = 0;
  for (const Candidate& each : candidates) {
    if (!counts(each)) continue;
    ++competing;
    const double median = *each.median;
    if (!best || (higher_is_better ? median > *best : median < *best)) best = median;
  }
  std::vector<bool> marked(candidates.size());
  std::size_t equal = 0;
  for (std::size_t i = 0; i < marked.size(); ++i) {
    marked[i] = counts(candidates[i]) && shown(*candidates[i].median) == shown(*best);
    equal += marked[i] ? 1 : 0;
  }
  if (equal == competing) marked.assign(marked.size(), false);
  return marked;
}

}  // namespace sluice::bench
