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

/// Ends the program if `condition` is false.
inline void must(bool condition) {
  if (!condition) std::abort();
}

/// Reads `chain`, which has a segment; ends the program if the reader reports something impossible.
void walk(const std::vector<FuzzedSegment>& chain);

/// The segment, position and payload CRC of every record that a reader of `chain` gets; nothing if
/// it refuses the chain.
using Records = std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint32_t>>;
[[nodiscard]] std::optional<Records> records_of(const std::vector<FuzzedSegment>& chain);

}  // namespace sluice::fuzz
