#pragma once

#include <string_view>

namespace sluice::bench {

/// The baseline once more: no difference smaller than its spread means anything.
inline constexpr std::string_view kControlName = "A/A";
inline constexpr std::string_view kDirectName = "direct";

/// Neither the path without a forwarder nor the control takes part in the contest.
[[nodiscard]] inline bool competes(std::string_view contender) {
  return contender != kControlName && contender != kDirectName;
}

}  // namespace sluice::bench
