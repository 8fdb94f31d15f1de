#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "iolib/balance/least.h"
#include "iolib/balance/random.h"

namespace sluice::balance {

/// Draws two different items of 0..n-1, and picks the one with the lower (active + 1) / weight.
/// Items for which `skip(item)` is true are drawn again. Nothing if all are skipped.
///
/// If most items are skipped, or there are only two, this is least_loaded() over all. The functions
/// are those of least_loaded().
template <class Skip, class Active, class Weight>
[[nodiscard]] std::optional<std::size_t> two_choices(std::size_t n, Random& random, Skip&& skip,
                                                     Active&& active, Weight&& weight) {
  constexpr int kDraws = 8;
  std::optional<std::size_t> first;
  for (int draw = 0; n > 2 && draw < kDraws; ++draw) {
    const std::size_t item = random.below(n);
    if (item == first || skip(item)) continue;
    if (!first) {
      first = item;
      continue;
    }
    const Load one(active(*first), weight(*first));
    const Load other(active(item), weight(item));
    return other < one ? item : first;
  }
  return least_loaded(n, random, skip, active, weight);
}

}  // namespace sluice::balance
