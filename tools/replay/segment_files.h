#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/capture/capture_set.h"

namespace sluice::replay {

/// The files of the segments. They are opened on demand; at most kMostOpen are open at a time.
class SegmentFiles {
 public:
  static constexpr std::size_t kMostOpen = 128;

  /// `segments` must outlive this object. Its paths are updated when files are renamed.
  explicit SegmentFiles(std::vector<capture::SegmentFile>& segments)
      : segments_(segments), open_(segments.size()) {}

  /// Returns the descriptor of a segment's file, borrowed until the next call. `position` is where
  /// the caller will read; the bytes after it are read ahead, so that no call waits for the disk.
  [[nodiscard]] Result<int> at(std::uint32_t segment, std::uint64_t position);
  /// Reads until `into` is full. Fails if the file has become too short.
  [[nodiscard]] Result<> read(std::uint32_t segment, std::uint64_t position,
                              std::span<std::byte> into);

 private:
  struct Open {
    OwnedFd fd;
    std::uint64_t ahead = 0;  ///< offset up to which read-ahead was requested
  };
  void close_oldest();

  std::vector<capture::SegmentFile>& segments_;
  std::vector<Open> open_;
  std::deque<std::uint32_t> order_;  // open segments, the oldest first
};

}  // namespace sluice::replay
