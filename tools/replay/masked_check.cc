#include "tools/replay/masked_check.h"

#include <algorithm>
#include <deque>
#include <string>
#include <string_view>

namespace sluice::replay {
namespace {

// Ignored bytes are the same on both sides.
void blank(std::string& bytes, std::uint64_t offset, const std::vector<Ignored>& ignored) {
  if (ignored.empty()) return;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (is_ignored(ignored, offset + i)) bytes[i] = '\0';
  }
}

// The masks of a stream, as its bytes are looked at one by one.
class Masks {
 public:
  explicit Masks(const MaskedStream& stream)
      : next_(stream.masks().begin()),
        end_(stream.masks().end()),
        hidden_bytes_(stream.original_offset() - stream.offset()) {}
  // The length of the match at this offset, or 0; call it with each offset in turn.
  std::uint64_t at(std::uint64_t offset) {
    original_offset_ = offset + hidden_bytes_;
    if (next_ == end_ || next_->offset != offset) return 0;
    hidden_bytes_ += next_->bytes - 1;
    return next_++->bytes;
  }
  [[nodiscard]] std::uint64_t original_offset() const { return original_offset_; }

 private:
  std::deque<MaskedStream::Mask>::const_iterator next_;
  std::deque<MaskedStream::Mask>::const_iterator end_;
  std::uint64_t hidden_bytes_;
  std::uint64_t original_offset_ = 0;
};

}  // namespace

Result<> MaskedCheck::take(std::span<const std::byte> bytes) {
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  blank(text, now_bytes_, ignored_);
  now_bytes_ += text.size();
  now_.take(text);
  if (const Result<> read = read_until(now_.produced()); !read) return read;
  compare();
  // There is nothing to compare the rest with: only its length counts.
  if (settled_ || recorded_ != Recorded::going_on) now_.consume(now_.ready().size());
  return {};
}

Result<> MaskedCheck::finish(bool whole) {
  now_.finish();
  // One byte more shows that the recorded answer is longer.
  if (const Result<> read = read_until(now_.produced() + 1); !read) return read;
  now_cut_ = !whole;
  compare();
  return {};
}

std::strong_ordering MaskedCheck::size() const {
  if (settled_ || recorded_ == Recorded::at_gap) return std::strong_ordering::equal;
  return now_.produced() <=> then_.produced();
}

// Reads the recorded answer until so much of it is masked, or it ends.
Result<> MaskedCheck::read_until(std::uint64_t produced) {
  while (recorded_ == Recorded::going_on && then_.produced() < produced) {
    if (then_bytes_ >= planned_.answer_bytes || part_ == kNone ||
        plan_.answers[part_].offset != then_bytes_) {
      recorded_ = then_bytes_ >= planned_.answer_bytes ? Recorded::ended : Recorded::at_gap;
      then_cut_ = recorded_ == Recorded::at_gap || planned_.answer_end != capture::SideEnd::eof;
      then_.finish();
      break;
    }
    const Answer& part = plan_.answers[part_];
    std::string text(part.bytes, '\0');
    const Result<> read =
        files_.read(part.segment, part.position, std::as_writable_bytes(std::span(text)));
    if (!read) return read;
    blank(text, then_bytes_, ignored_);
    then_bytes_ += text.size();
    then_.take(text);
    part_ = part.next;
  }
  return {};
}

void MaskedCheck::compare() {
  const std::size_t bytes = std::min(then_.ready().size(), now_.ready().size());
  const std::uint64_t offset = then_.offset();
  Masks then_masks(then_);
  Masks now_masks(now_);
  for (std::size_t at = 0; at < bytes && !settled_; ++at) {
    const std::uint64_t then_match = then_masks.at(offset + at);
    const std::uint64_t now_match = now_masks.at(offset + at);
    const bool same_kind = (then_match > 0) == (now_match > 0);
    if (same_kind && then_.ready()[at] == now_.ready()[at]) continue;
    if (!same_kind && may_be_cut_off(then_match > 0 ? now_ : then_, at, then_match + now_match)) {
      settled_ = true;
    } else {
      note(then_masks.original_offset(), at);
    }
  }
  then_.consume(bytes);
  now_.consume(bytes);
}

// Whether `stream` may have the beginning of the match that the other stream has here, and was then
// cut off.
bool MaskedCheck::may_be_cut_off(const MaskedStream& stream, std::size_t at,
                                 std::uint64_t match_bytes) const {
  const bool was_cut = &stream == &then_ ? then_cut_ : now_cut_;
  return was_cut && stream.ready().size() - at <= match_bytes;
}

void MaskedCheck::note(std::uint64_t original_offset, std::size_t at) {
  if (!mismatch_.first) {
    mismatch_.first = original_offset;
    mismatch_.then = then_.ready().substr(at, Mismatch::kShownBytes);
    mismatch_.now = now_.ready().substr(at, Mismatch::kShownBytes);
  }
  mismatch_.last = original_offset;
  ++mismatch_.bytes;
}

}  // namespace sluice::replay
