#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::capture {

/// When recorded bytes are on stable storage.
enum class Durability : std::uint8_t {
  none,            ///< written to the device; flushed when a segment is sealed
  interval,        ///< flushed every so often
  batch,           ///< each block is flushed, with all that came meanwhile
  before_forward,  ///< and nothing is forwarded before
};
[[nodiscard]] std::string_view to_string(Durability durability);

/// What happens to new bytes when the buffers are full.
enum class WhenFull : std::uint8_t {
  block,  ///< forwarding waits
  drop,   ///< they are forwarded, and a gap is recorded
  close,  ///< the connection ends
};
[[nodiscard]] std::string_view to_string(WhenFull policy);

}  // namespace sluice::capture
