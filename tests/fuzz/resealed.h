#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "iolib/capture/format.h"

namespace sluice::fuzz {

struct FuzzedSegment {
  capture::SegmentName name;
  std::vector<std::byte> bytes;
};

/// A chain of up to four segments, in any states, made from a fuzzer's bytes. It has good
/// checksums, so the code behind the checks is reached.
///
/// The first byte says what keeps its own checksums: bit 0 frame headers, bit 1 record headers, bit
/// 2 payloads. The rest is a sequence of pieces: a byte, a number of bytes (2, little-endian), and
/// these bytes, padded with zeros to whole blocks of 4,096. In the piece's first byte, bit 7 begins
/// a new segment, bits 5 and 6 are its state, and bit 4 skips a number before it. Bits 0 to 3 are
/// the least number of blocks, minus one.
[[nodiscard]] std::vector<FuzzedSegment> resealed_chain(std::span<const std::byte> input);

}  // namespace sluice::fuzz
