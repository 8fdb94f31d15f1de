#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/capture/format.h"

namespace sluice::capture {

/// Builds one frame in a buffer that it borrows: records are appended, then it is sealed.
class FrameBuilder {
 public:
  FrameBuilder() = default;
  /// `buffer`: a multiple of kGridBytes, at most kMaxFrameBytes.
  explicit FrameBuilder(std::span<std::byte> buffer) : buffer_(buffer) {}

  /// Holds no record yet.
  [[nodiscard]] bool empty() const { return used_bytes_ == kFrameHeaderBytes; }
  void reset() { used_bytes_ = kFrameHeaderBytes; }
  [[nodiscard]] std::size_t buffer_bytes() const { return buffer_.size(); }
  /// What the frame takes up in a file.
  [[nodiscard]] std::size_t frame_bytes(std::size_t grid_bytes) const {
    return (used_bytes_ + grid_bytes - 1) / grid_bytes * grid_bytes;
  }
  /// The largest payload that one more record could have; 0 also if only an empty one fits.
  [[nodiscard]] std::size_t room_bytes() const;
  /// Whether a record with so much payload fits.
  [[nodiscard]] bool fits(std::size_t payload_bytes) const {
    return record_bytes(payload_bytes) <= buffer_.size() - used_bytes_;
  }

  /// Where the payload of the next record goes, room_bytes() long: fill some of it, then commit().
  [[nodiscard]] std::span<std::byte> payload_space() const;
  /// Appends a record whose payload, `header.payload_bytes` long, is in payload_space() already.
  /// Its lengths and payload CRC are filled in; returns that CRC.
  std::uint32_t commit(RecordHeader header, std::size_t payload_bytes);
  /// Appends a record with a copy of `payload`, which must fit; returns the payload's CRC.
  std::uint32_t append(const RecordHeader& header, std::span<const std::byte> payload = {});

  /// Finishes the frame, padded to a multiple of `grid_bytes`: what is to be written. `header`
  /// gives the segment, number, durable frames and offset. May be called again with another one.
  [[nodiscard]] std::span<const std::byte> seal(FrameHeader header,
                                                std::size_t grid_bytes = kGridBytes) const;

 private:
  std::span<std::byte> buffer_;
  std::size_t used_bytes_ = kFrameHeaderBytes;
};

}  // namespace sluice::capture
