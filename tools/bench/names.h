#pragma once

#include <string_view>

namespace sluice::bench {

/// The name of the baseline's second run. A difference smaller than the one between both means
/// nothing.
inline constexpr std::string_view kControlName = "A/A";
inline constexpr std::string_view kDirectName = "direct";

/// Whether a contender can be the best: neither `direct` nor `A/A` can.
[[nodiscard]] inline bool competes(std::string_view contender) {
  return contender != kControlName && contender != kDirectName;
}

}  // namespace sluice::bench
