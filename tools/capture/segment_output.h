#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "iolib/base/aligned_buffer.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/capture/format.h"
#include "iolib/capture/frame_builder.h"

namespace sluice::capture {

/// Writes one segment, record by record, with blocking calls. The destructor deletes a segment that
/// was not sealed.
class SegmentOutput {
 public:
  /// Creates the segment's file with the state `open`, and writes its first record with the times
  /// of `times`. Borrows the descriptor `directory`.
  [[nodiscard]] static Result<std::unique_ptr<SegmentOutput>> create(int directory,
                                                                     const SegmentInfo& info,
                                                                     const RecordHeader& times);
  SegmentOutput(int directory, SegmentName name, OwnedFd fd, AlignedBuffer buffer);
  ~SegmentOutput();
  SegmentOutput(const SegmentOutput&) = delete;
  SegmentOutput& operator=(const SegmentOutput&) = delete;

  [[nodiscard]] Result<> append(const RecordHeader& header, std::span<const std::byte> payload);
  /// Writes the footer, and gives the file its final name. Everything is then durable.
  [[nodiscard]] Result<> seal(const RecordHeader& times, SegmentEnd why);

 private:
  [[nodiscard]] Result<> flush();

  int directory_;
  SegmentName name_;
  std::string file_name_;
  OwnedFd fd_;
  AlignedBuffer buffer_;
  FrameBuilder frame_;
  FrameHeader header_;
  std::uint64_t data_bytes_ = 0;
  bool sealed_ = false;
};

}  // namespace sluice::capture
