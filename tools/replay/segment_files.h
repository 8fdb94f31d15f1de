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

/// The segments' files, opened when they are needed; at most kMostOpen at a time.
class SegmentFiles {
 public:
  static constexpr std::size_t kMostOpen = 128;

  /// Borrows `segments`, whose paths may change as the files are renamed.
  explicit SegmentFiles(std::vector<capture::SegmentFile>& segments)
      : segments_(segments), open_(segments.size()) {}

  /// The descriptor of a segment's file, borrowed until the next call, of which what is at
  /// `position` is about to be used: what comes behind is read ahead, so that no call waits for the
  /// disk.
  [[nodiscard]] Result<int> at(std::uint32_t segment, std::uint64_t position);
  /// Fills all of `into`; fails if the file has become shorter.
  [[nodiscard]] Result<> read(std::uint32_t segment, std::uint64_t position,
                              std::span<std::byte> into);

 private:
  struct Open {
    OwnedFd fd;
    std::uint64_t ahead = 0;  ///< read in, or being read in, up to here
  };
  void close_oldest();

  std::vector<capture::SegmentFile>& segments_;
  std::vector<Open> open_;
  std::deque<std::uint32_t> order_;  // in which they were opened
};

}  // namespace sluice::replay
