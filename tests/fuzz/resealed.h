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

/// A chain of up to four segments, in any states, made of a fuzzer's bytes. Their checksums are
/// made good, so that what is senseless behind them is reached, which no fuzzer would by guessing.
///
/// The first byte says what is left as it is: bit 0 frame headers, bit 1 record headers, bit 2
/// payloads. The rest is pieces, one behind the other: a byte, the number of bytes that follow
/// (2, little-endian), and these, filled up with zeros to a whole number of blocks of 4,096. Of the
/// piece's first byte bit 7 begins a new segment, bits 5 and 6 its state, bit 4 leaves out a number
/// before it; bits 0 to 3 are the least number of blocks, less one.
[[nodiscard]] std::vector<FuzzedSegment> resealed_chain(std::span<const std::byte> input);

}  // namespace sluice::fuzz
