#include "tools/replay/answer_check.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "iolib/capture/format.h"

namespace sluice::replay {

Result<> AnswerCheck::take(std::span<const std::byte> bytes) {
  while (!bytes.empty() && part_ != kNone) {
    const Answer& part = plan_.answers[part_];
    const std::uint64_t end = part.offset + part.bytes;
    if (offset_ >= end) {
      part_ = part.next;
      continue;
    }
    if (offset_ < part.offset) {  // a gap in the recording
      const std::uint64_t skipped = std::min<std::uint64_t>(bytes.size(), part.offset - offset_);
      offset_ += skipped;
      bytes = bytes.subspan(static_cast<std::size_t>(skipped));
      continue;
    }
    const std::uint64_t count = std::min<std::uint64_t>(bytes.size(), end - offset_);
    static thread_local std::array<std::byte, capture::kMaxPayloadBytes> buffer;
    const std::span<std::byte> then = std::span(buffer).first(static_cast<std::size_t>(count));
    const Result<> read = files_.read(part.segment, part.position + (offset_ - part.offset), then);
    if (!read) return read;
    compare(bytes.first(then.size()), then);
    offset_ += count;
    bytes = bytes.subspan(then.size());
  }
  offset_ += bytes.size();
  return {};
}

void AnswerCheck::compare(std::span<const std::byte> now, std::span<const std::byte> then) {
  const auto show = [](std::span<const std::byte> bytes, std::string& to) {
    const std::size_t room = Mismatch::kShownBytes - to.size();
    for (const std::byte byte : bytes.first(std::min(room, bytes.size()))) {
      to += static_cast<char>(byte);
    }
  };
  std::size_t show_from = 0;
  if (std::memcmp(now.data(), then.data(), now.size()) != 0) {
    for (std::size_t i = 0; i < now.size(); ++i) {
      const std::uint64_t offset = offset_ + i;
      if (now[i] == then[i] || is_ignored(ignored_, offset)) continue;
      if (!mismatch_.first) {
        mismatch_.first = offset;
        show_from = i;
      }
      mismatch_.last = offset;
      ++mismatch_.bytes;
    }
  }
  if (!mismatch_.first) return;
  show(then.subspan(show_from), mismatch_.then);
  show(now.subspan(show_from), mismatch_.now);
}

}  // namespace sluice::replay
