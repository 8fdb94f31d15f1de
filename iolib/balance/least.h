#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "iolib/balance/random.h"

namespace sluice::balance {

/// The load of an item if it had one more connection.
class Load {
 public:
  /// `weight` is not 0.
  Load(std::uint32_t active, std::uint32_t weight)
      : active_(std::uint64_t{active} + 1), weight_(weight) {}
  /// Whether (active + 1) / weight is lower than the other's.
  [[nodiscard]] bool operator<(const Load& other) const {
    return active_ * other.weight_ < other.active_ * weight_;
  }

 private:
  std::uint64_t active_;
  std::uint64_t weight_;
};

/// The item of 0..n-1 with the lowest (active + 1) / weight, except those for which `skip(item)` is
/// true. Nothing if there is no other. Begins at a random item, which breaks ties.
///
/// `active(item)` and `weight(item)` are 32-bit numbers. Each is called at most once per item, so
/// counts may change meanwhile.
template <class Skip, class Active, class Weight>
[[nodiscard]] std::optional<std::size_t> least_loaded(std::size_t n, Random& random, Skip&& skip,
                                                      Active&& active, Weight&& weight) {
  std::optional<std::size_t> best;
  if (n == 0) return best;
  Load lowest(0, 1);
  std::size_t item = random.below(n);
  for (std::size_t seen = 0; seen < n; ++seen, item = item + 1 < n ? item + 1 : 0) {
    if (skip(item)) continue;
    const Load load(active(item), weight(item));
    if (best && !(load < lowest)) continue;
    best = item;
    lowest = load;
  }
  return best;
}

}  // namespace sluice::balance
