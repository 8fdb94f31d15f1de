#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/capture/format.h"

namespace sluice::capture {

/// Builds one frame in a borrowed buffer: append records, then seal the frame.
class FrameBuilder {
 public:
  FrameBuilder() = default;
  /// The size of `buffer` is a multiple of kGridBytes and at most kMaxFrameBytes.
  explicit FrameBuilder(std::span<std::byte> buffer) : buffer_(buffer) {}

  /// Whether the frame holds no record yet.
  [[nodiscard]] bool empty() const { return used_bytes_ == kFrameHeaderBytes; }
  void reset() { used_bytes_ = kFrameHeaderBytes; }
  [[nodiscard]] std::size_t buffer_bytes() const { return buffer_.size(); }
  /// The size of the frame in a file.
  [[nodiscard]] std::size_t frame_bytes(std::size_t grid_bytes) const {
    return (used_bytes_ + grid_bytes - 1) / grid_bytes * grid_bytes;
  }
  /// The largest payload of one more record. Also 0 if only an empty one fits.
  [[nodiscard]] std::size_t room_bytes() const;
  /// Whether a record with this much payload fits.
  [[nodiscard]] bool fits(std::size_t payload_bytes) const {
    return record_bytes(payload_bytes) <= buffer_.size() - used_bytes_;
  }

  /// The memory for the payload of the next record, room_bytes() long. Fill some of it, then call
  /// commit().
  [[nodiscard]] std::span<std::byte> payload_space() const;
  /// Appends a record whose payload, `payload_bytes` long, is already in payload_space(). Sets the
  /// payload's length and CRC in the header. Returns that CRC.
  std::uint32_t commit(RecordHeader header, std::size_t payload_bytes);
  /// Appends a record with a copy of `payload`, which must fit. Returns the payload's CRC.
  std::uint32_t append(const RecordHeader& header, std::span<const std::byte> payload = {});

  /// Finishes the frame and pads it to a multiple of `grid_bytes`. Returns the bytes to write.
  /// `header` gives the segment, number, durable frames and offset. May be called again with
  /// another header.
  [[nodiscard]] std::span<const std::byte> seal(FrameHeader header,
                                                std::size_t grid_bytes = kGridBytes) const;

 private:
  std::span<std::byte> buffer_;
  std::size_t used_bytes_ = kFrameHeaderBytes;
};

}  // namespace sluice::capture
