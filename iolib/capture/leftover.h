#pragma once

#include <cstdint>

#include "iolib/base/error.h"
#include "iolib/capture/format.h"
#include "iolib/disk/volume.h"

namespace sluice::capture {

/// The longest hole that a crash can leave between written data: FrameWriter::kDepth (8) writes are
/// in flight at a time. Zeros of this length mark the end of what was written.
inline constexpr std::uint64_t kLongestHoleBytes = 8 * kMaxFrameBytes;

/// Returns the end of what was written to a segment that a crash left: after its last frame, or
/// after the last block that is not zero. Returns 0 if nothing was ever written. The time depends
/// on the written data, not on the zeros or free space that the segment was prepared with.
[[nodiscard]] Result<std::uint64_t> written_end(Volume& volume, int file, std::uint64_t size_bytes);

}  // namespace sluice::capture
