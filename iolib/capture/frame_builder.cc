#include "iolib/capture/frame_builder.h"

#include <algorithm>
#include <cstring>

#include "iolib/base/crc32c.h"

namespace sluice::capture {

std::size_t FrameBuilder::room_bytes() const {
  const std::size_t left = buffer_.size() - used_bytes_;
  if (left <= kRecordHeaderBytes) return 0;
  return std::min((left - kRecordHeaderBytes) / kRecordAlignment * kRecordAlignment,
                  kMaxPayloadBytes);
}

std::span<std::byte> FrameBuilder::payload_space() const {
  return buffer_.subspan(used_bytes_ + kRecordHeaderBytes, room_bytes());
}

std::uint32_t FrameBuilder::commit(RecordHeader header, std::size_t payload_bytes) {
  const std::size_t begin = used_bytes_ + kRecordHeaderBytes;
  header.payload_bytes = static_cast<std::uint32_t>(payload_bytes);
  header.payload_crc = crc32c(buffer_.subspan(begin, payload_bytes));
  encode_record_header(header, &buffer_[used_bytes_]);
  used_bytes_ += record_bytes(payload_bytes);
  const std::size_t end = begin + payload_bytes;
  std::memset(buffer_.data() + end, 0, used_bytes_ - end);
  return header.payload_crc;
}

std::uint32_t FrameBuilder::append(const RecordHeader& header, std::span<const std::byte> payload) {
  if (!payload.empty()) {
    std::memcpy(&buffer_[used_bytes_ + kRecordHeaderBytes], payload.data(), payload.size());
  }
  return commit(header, payload.size());
}

std::span<const std::byte> FrameBuilder::seal(FrameHeader header, std::size_t grid_bytes) const {
  const std::size_t size = frame_bytes(grid_bytes);
  header.frame_bytes = static_cast<std::uint32_t>(size);
  header.used_bytes = static_cast<std::uint32_t>(used_bytes_);
  seal_frame(buffer_.first(size), header);
  return buffer_.first(size);
}

}  // namespace sluice::capture
