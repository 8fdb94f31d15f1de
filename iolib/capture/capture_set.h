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
  std::uint64_t size_bytes = 0;  ///< size when the file was listed
};

/// The segments of one worker in one run, in the order of their numbers.
struct Chain {
  std::string run;
  std::uint32_t worker = 0;
  std::vector<SegmentFile> segments;
  bool being_written = false;  ///< when listed, the last segment was open and its writer alive
};

/// list_capture() fails if there are more segments than this.
inline constexpr std::size_t kMostSegments = 1'000'000;

/// Lists the capture in `paths`. Each path is a directory or a segment's file. Of a directory, all
/// regular files with a segment's name are taken. A file may have been renamed by its writer
/// meanwhile. A file that several paths lead to is listed once.
///
/// The chains are ordered by run and worker. A directory that holds only the writer's lock gives no
/// chain. A directory that is empty, or holds only other files, is an error.
[[nodiscard]] Result<std::vector<Chain>> list_capture(const std::vector<std::string>& paths);

/// Opens the file. If its writer has renamed it meanwhile, opens it under the new name and changes
/// `file` accordingly. Returns null if the file is gone.
[[nodiscard]] Result<std::unique_ptr<Source>> open_segment(SegmentFile& file);
/// The same, but returns a descriptor, for sendfile.
[[nodiscard]] Result<OwnedFd> open_segment_file(SegmentFile& file);

}  // namespace sluice::capture
