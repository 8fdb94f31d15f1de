#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::capture {

/// When recorded bytes are on stable storage.
enum class Durability : std::uint8_t {
  none,            ///< written to the device, flushed as a segment fills and when it is sealed
  interval,        ///< flushed at an interval
  batch,           ///< each block is flushed, together with those that came meanwhile
  before_forward,  ///< bytes are forwarded only after they are flushed
};
inline constexpr std::array<std::string_view, 4> kDurabilityNames{"none", "interval", "batch",
                                                                  "before-forward"};
[[nodiscard]] constexpr std::string_view to_string(Durability durability) {
  return kDurabilityNames[static_cast<std::size_t>(durability)];
}

/// What happens to new bytes when the buffers are full.
enum class WhenFull : std::uint8_t {
  block,  ///< forwarding waits
  drop,   ///< they are forwarded, and a gap is recorded
  close,  ///< the connection ends
};
inline constexpr std::array<std::string_view, 3> kWhenFullNames{"block", "drop", "close"};
[[nodiscard]] constexpr std::string_view to_string(WhenFull policy) {
  return kWhenFullNames[static_cast<std::size_t>(policy)];
}

}  // namespace sluice::capture
