#pragma once

#include <chrono>
#include <cstdint>

#include "iolib/base/clock.h"
#include "iolib/capture/format.h"

namespace sluice::capture {

/// How long to wait after a failure before the next try.
inline constexpr Duration kRetryPause = std::chrono::seconds(1);

/// A segment's file, from its creation until it has its final name, and how far it is written.
struct Segment {
  int file = -1;
  SegmentName name;
  SegmentId id{};
  std::uint64_t size_bytes = 0;  ///< allocated
  std::uint64_t offset = 0;      ///< file offset of the next frame
  std::uint64_t data_bytes = 0;
  std::uint32_t frames = 0;
  std::uint32_t durable_frames = 0;
  std::uint32_t published_frames = 0;  ///< durable frames in the last written header

  /// The header of the next frame.
  [[nodiscard]] FrameHeader next_header() const {
    return {.segment = id, .number = frames, .durable_frames = durable_frames, .offset = offset};
  }
};

/// The wall clock minus the monotonic clock, now.
[[nodiscard]] inline std::chrono::nanoseconds wall_offset() {
  return std::chrono::system_clock::now().time_since_epoch() - Clock::now().time_since_epoch();
}

/// The header of a record that is made at `now`.
[[nodiscard]] inline RecordHeader stamped(Kind kind, TimePoint now = Clock::now(),
                                          std::chrono::nanoseconds offset = wall_offset()) {
  const std::chrono::nanoseconds monotonic = now.time_since_epoch();
  return {.kind = static_cast<std::uint8_t>(kind),
          .monotonic_ns = static_cast<std::uint64_t>(monotonic.count()),
          .wall_ns = static_cast<std::uint64_t>((monotonic + offset).count())};
}

}  // namespace sluice::capture
