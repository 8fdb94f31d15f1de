// Arbitrary records in good frames, whose checksums a fuzzer would not guess. Each record comes
// from 16 bytes of the input, with some of the following bytes as its payload. Then some bytes are
// changed.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "iolib/capture/frame_builder.h"
#include "tests/fuzz/walk.h"

namespace sluice::fuzz {
namespace {

using capture::FrameBuilder;

constexpr std::size_t kScriptBytes = 16;

class Script {
 public:
  explicit Script(std::span<const std::byte> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  std::span<const std::byte> take(std::size_t most) {
    const auto taken = bytes_.first(std::min(most, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::byte> bytes_;
};

class Segment {
 public:
  void add(const capture::RecordHeader& header, std::span<const std::byte> payload) {
    if (!frame_.fits(payload.size())) flush(false);
    frame_.append(header, payload);
  }
  void flush(bool skips_a_number) {
    capture::FrameHeader header;
    header.number = number_;
    header.durable_frames = number_ / 2;
    header.offset = file_.size();
    const auto frame = frame_.seal(header);
    file_.insert(file_.end(), frame.begin(), frame.end());
    frame_ = FrameBuilder(buffer_);
    number_ += skips_a_number ? 2 : 1;
  }
  [[nodiscard]] std::vector<std::byte>& file() { return file_; }

 private:
  std::vector<std::byte> buffer_ = std::vector<std::byte>(8192);
  FrameBuilder frame_{buffer_};
  std::vector<std::byte> file_;
  std::uint32_t number_ = 0;
};

capture::RecordHeader header_of(std::span<const std::byte> script) {
  std::array<std::uint8_t, kScriptBytes> words{};
  std::memcpy(words.data(), script.data(), script.size());
  capture::RecordHeader header;
  header.kind = static_cast<std::uint8_t>(words[0] % 14 + 1);
  header.flags = words[1];
  header.connection = words[2] % 4;
  // Mostly close to each other, some at the far end.
  header.offset = words[3];
  if (words[4] == 255) header.offset = ~header.offset;
  return header;
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice::fuzz;
  constexpr std::size_t kMostBytes = 1 << 16;
  Script script(std::as_bytes(std::span(data, std::min(size, kMostBytes))));
  Segment segment;
  std::uint8_t last = 0;
  while (!script.empty()) {
    const auto words = script.take(kScriptBytes);
    last = std::to_integer<std::uint8_t>(words.back());
    if (words.size() == kScriptBytes && last == 7) segment.flush(words[5] == std::byte{1});
    const std::size_t payload_bytes = words.size() > 6 ? std::to_integer<std::size_t>(words[6]) : 0;
    segment.add(header_of(words), script.take(payload_bytes));
  }
  segment.flush(false);
  const auto state = static_cast<sluice::capture::SegmentState>(last % 3);
  walk({{{"run1", 0, 0, state}, segment.file()}});
  segment.file()[(std::size_t{last} * 977) % segment.file().size()] ^= std::byte{1};
  walk({{{"run1", 0, 0, state}, segment.file()}});
  return 0;
}
