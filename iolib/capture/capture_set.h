#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/capture/format.h"
#include "iolib/capture/source.h"

namespace sluice::capture {

struct SegmentFile {
  std::string path;
  SegmentName name;
  std::uint64_t size_bytes = 0;  ///< when it was listed
};

/// The segments of one worker in one run, by their numbers.
struct Chain {
  std::string run;
  std::uint32_t worker = 0;
  std::vector<SegmentFile> segments;
  bool being_written =
      false;  ///< when it was listed: its last segment is open, and its writer alive
};

/// More files than this are no capture.
inline constexpr std::size_t kMostSegments = 1'000'000;

/// The capture in `paths`: each a directory, of which it takes the regular files that bear a
/// segment's name, or such a file, which may have been renamed since. One to which several paths
/// lead is there once. The chains come in the order of their runs and workers. There
/// are none in a directory that holds but the writer's lock; an empty one, and one of other things
/// alone, is an error.
[[nodiscard]] Result<std::vector<Chain>> list_capture(const std::vector<std::string>& paths);

/// Opens the file, under the name that it has meanwhile if its writer has renamed it, which changes
/// `file`. No source, if it is gone.
[[nodiscard]] Result<std::unique_ptr<Source>> open_segment(SegmentFile& file);
/// The same as a descriptor, for sendfile.
[[nodiscard]] Result<OwnedFd> open_segment_file(SegmentFile& file);

}  // namespace sluice::capture
