#pragma once

#include <cstdint>

#include "iolib/base/error.h"
#include "iolib/capture/format.h"
#include "iolib/disk/volume.h"

namespace sluice::capture {

/// The most that a crash leaves unwritten before something that was: eight writes are in flight at
/// a time (FrameWriter::kDepth). Zeros of this length are the end of what was written.
inline constexpr std::uint64_t kLongestHoleBytes = 8 * kMaxFrameBytes;

/// Where that which a crash left of a segment ends: behind its last frame, or behind the last block
/// that is not zero; 0 if nothing was ever written. Takes time for what was written, and not for
/// the zeros or the free space that the segment was prepared with.
[[nodiscard]] Result<std::uint64_t> written_end(Volume& volume, int file, std::uint64_t size_bytes);

}  // namespace sluice::capture
