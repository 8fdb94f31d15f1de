#include "tests/fuzz/resealed.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "iolib/base/crc32c.h"

namespace sluice::fuzz {
namespace {

using capture::kFrameHeaderBytes;
using capture::kGridBytes;
using capture::kRecordHeaderBytes;

constexpr std::size_t kMostSegments = 4;
constexpr std::size_t kMostBlocks = 64;

std::uint64_t number_at(std::span<const std::byte> bytes, std::size_t at, std::size_t size) {
  std::uint64_t number = 0;
  for (std::size_t i = size; i > 0; --i) {
    number = number << 8 | std::to_integer<std::uint64_t>(bytes[at + i - 1]);
  }
  return number;
}

void put_crc(std::span<std::byte> bytes, std::size_t at, std::uint32_t crc) {
  for (std::size_t i = 0; i < sizeof crc; ++i) bytes[at + i] = static_cast<std::byte>(crc >> 8 * i);
}

struct Left {
  bool frames = false;
  bool records = false;
  bool payloads = false;
};

// Goes from record to record while their lengths are plausible, whatever the frame's length says.
void reseal_records(std::span<std::byte> frame, Left left) {
  capture::SegmentId id{};
  std::copy_n(frame.begin() + 16, id.size(), id.begin());
  const std::uint32_t seed = capture::record_seed(id, number_at(frame, 40, 8));
  for (std::size_t at = kFrameHeaderBytes; at + kRecordHeaderBytes <= frame.size();) {
    const std::span<std::byte> record = frame.subspan(at);
    const std::uint64_t payload_bytes = number_at(record, 8, 4);
    if (payload_bytes > record.size() - kRecordHeaderBytes) return;
    if (capture::is_zero(record.first(kRecordHeaderBytes))) return;
    if (!left.payloads) {
      put_crc(record, 12, crc32c(record.subspan(kRecordHeaderBytes, payload_bytes)));
    }
    if (!left.records) {
      put_crc(record, 0, crc32c(record.subspan(4, kRecordHeaderBytes - 4), seed));
    }
    at += capture::record_bytes(payload_bytes);
  }
}

void reseal(std::span<std::byte> segment, Left left) {
  constexpr std::byte kMagicBegins{0x89};
  std::size_t frame = 0;
  for (std::size_t at = kGridBytes; at <= segment.size(); at += kGridBytes) {
    // Records may extend over the blocks of their frame.
    if (at < segment.size() && segment[at] != kMagicBegins) continue;
    const std::span<std::byte> whole = segment.subspan(frame, at - frame);
    reseal_records(whole, left);
    if (!left.frames) put_crc(whole, 60, crc32c(whole.first(60)));
    frame = at;
  }
}

}  // namespace

std::vector<FuzzedSegment> resealed_chain(std::span<const std::byte> input) {
  std::vector<FuzzedSegment> chain;
  if (input.empty()) return chain;
  const auto bit = [first = input[0]](int number) {
    return std::to_integer<int>(first >> number & std::byte{1}) != 0;
  };
  const Left left{bit(0), bit(1), bit(2)};
  input = input.subspan(1);
  std::uint64_t next_number = 0;
  std::size_t blocks_left = kMostBlocks;
  while (input.size() >= 3) {
    const auto head = std::to_integer<std::size_t>(input[0]);
    const std::size_t bytes = std::min<std::size_t>(number_at(input, 1, 2), input.size() - 3);
    const std::span<const std::byte> piece = input.subspan(3, bytes);
    input = input.subspan(3 + bytes);
    const std::size_t blocks =
        std::max((head & 15) + 1, (piece.size() + kGridBytes - 1) / kGridBytes);
    if (blocks > blocks_left) break;
    blocks_left -= blocks;
    if (chain.empty() || (head >> 7 != 0 && chain.size() < kMostSegments)) {
      next_number += head >> 4 & 1;
      const auto state = static_cast<capture::SegmentState>((head >> 5 & 3) % 3);
      chain.push_back({{"run1", 0, next_number++, state}, {}});
    }
    std::vector<std::byte>& to = chain.back().bytes;
    to.insert(to.end(), piece.begin(), piece.end());
    to.resize(to.size() + blocks * kGridBytes - piece.size());
  }
  for (FuzzedSegment& each : chain) reseal(each.bytes, left);
  return chain;
}

}  // namespace sluice::fuzz
