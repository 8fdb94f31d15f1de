#pragma once

#include <cstddef>
#include <span>

#include "iolib/capture/reader.h"

namespace sluice::fuzz {

/// Reads `bytes` as one segment; ends the program if the reader says what cannot be.
void walk(std::span<const std::byte> bytes, capture::SegmentState state);

}  // namespace sluice::fuzz
