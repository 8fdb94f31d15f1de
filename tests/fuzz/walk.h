#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "iolib/capture/reader.h"
#include "tests/fuzz/resealed.h"

namespace sluice::fuzz {

/// Ends the program where `condition` does not hold.
inline void must(bool condition) {
  if (!condition) std::abort();
}

/// Reads `chain`, one segment at least; ends the program if the reader says what cannot be.
void walk(const std::vector<FuzzedSegment>& chain);

/// Segment, position, and the CRC of the payload, of every record that a reader of `chain` is
/// given; nothing, if it refuses the chain.
using Records = std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint32_t>>;
[[nodiscard]] std::optional<Records> records_of(const std::vector<FuzzedSegment>& chain);

}  // namespace sluice::fuzz
