#include "iolib/capture/leftover.h"

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

namespace sluice::capture {
namespace {

constexpr std::size_t kPartBytes = 1 << 20;

// Walks from frame to frame by the lengths in their headers. After a bad frame, walks block by
// block to the next good one.
class Walk {
 public:
  Walk(Volume& volume, int file, std::uint64_t size_bytes)
      : volume_(volume), file_(file), size_bytes_(size_bytes), part_(kPartBytes) {}

  Result<std::uint64_t> to_the_end() {
    while (at_ < size_bytes_ && zeros_bytes_ < kLongestHoleBytes) {
      const Result<std::span<const std::byte>> header = read(kFrameHeaderBytes);
      if (header.has_error()) return header.error();
      if (header->empty()) break;
      if (take_frame(*header)) continue;
      if (const Result<> looked = look_on(); looked.has_error()) return looked.error();
    }
    return {boost::system::in_place_value, std::min(end_, size_bytes_)};
  }

 private:
  Result<std::span<const std::byte>> read(std::size_t size_bytes) {
    const Result<std::size_t> got = volume_.read(file_, std::span(part_).first(size_bytes), at_);
    if (got.has_error()) return got.error();
    return std::span<const std::byte>(part_).first(*got);
  }

  // The segment id prevents recorded bytes from being taken for a header.
  bool take_frame(std::span<const std::byte> bytes) {
    const std::optional<FrameHeader> header = decode_frame_header(bytes);
    if (!header || header->offset != at_ || (segment_ && header->segment != *segment_)) {
      return false;
    }
    segment_ = header->segment;
    end_ = at_ += header->frame_bytes;
    zeros_bytes_ = 0;
    return true;
  }

  // Skips what was never allocated: it takes no time to read, and does not count as zeros.
  Result<> look_on() {
    const Result<std::uint64_t> data = volume_.next_data(file_, at_);
    if (data.has_error()) return data.error();
    at_ = std::max(at_, *data / kGridBytes * kGridBytes);
    const Result<std::span<const std::byte>> part = read(kPartBytes);
    if (part.has_error()) return part.error();
    if (part->empty()) at_ = size_bytes_;
    for (std::span<const std::byte> rest = *part; !rest.empty();) {
      const auto block = rest.first(std::min(kGridBytes, rest.size()));
      if (take_frame(block)) return {};
      at_ += block.size();
      zeros_bytes_ = is_zero(block) ? zeros_bytes_ + block.size() : 0;
      if (zeros_bytes_ == 0) end_ = at_;
      rest = rest.subspan(block.size());
    }
    return {};
  }

  Volume& volume_;
  int file_;
  std::uint64_t size_bytes_;
  std::vector<std::byte> part_;
  std::optional<SegmentId> segment_;
  std::uint64_t at_ = 0;
  std::uint64_t end_ = 0;
  std::uint64_t zeros_bytes_ = 0;  // number of zeros directly before at_
};

}  // namespace

Result<std::uint64_t> written_end(Volume& volume, int file, std::uint64_t size_bytes) {
  return Walk(volume, file, size_bytes).to_the_end();
}

}  // namespace sluice::capture
