#include "iolib/capture/ending_segment.h"

#include <cassert>
#include <span>
#include <utility>

#include "iolib/capture/frame_builder.h"

namespace sluice::capture {

void EndingSegment::seal(Segment segment, SegmentEnd why) {
  assert(state_ == State::none);
  state_ = State::sealing;
  segment_ = std::move(segment);
  disk_.run(
      [this, why] {
        done_ = seal_here(why);
        return 0;
      },
      *this);
}

// Runs on the background thread: writes the footer, then seals the file.
Result<> EndingSegment::seal_here(SegmentEnd why) {
  FrameBuilder frame(footer_);
  frame.append(stamped(Kind::footer),
               encode(FooterInfo{segment_.data_bytes, static_cast<std::uint32_t>(why)}));
  const std::span<const std::byte> bytes = frame.seal(segment_.next_header(), footer_.size());
  const std::uint64_t end = segment_.offset + bytes.size();
  if (Result<> written = store_.volume().write(segment_.file, bytes, segment_.offset);
      written.has_error()) {
    static_cast<void>(store_.abandon(segment_.file, segment_.name, end));
    return written;
  }
  return store_.seal(segment_.file, segment_.name, end);
}

void EndingSegment::abandon(Segment segment) {
  assert(state_ == State::none);
  state_ = State::waiting;
  segment_ = std::move(segment);
  abandon_again();
}

void EndingSegment::abandon_again() {
  assert(state_ == State::waiting);
  state_ = State::abandoning;
  disk_.run(
      [this] {
        done_ = store_.abandon(segment_.file, segment_.name, segment_.offset);
        return 0;
      },
      *this);
}

void EndingSegment::give_up() {
  assert(state_ == State::waiting);
  state_ = State::none;
}

void EndingSegment::complete(const Completion& /*completion*/) {
  const bool again = done_.has_error() && state_ == State::abandoning;
  state_ = again ? State::waiting : State::none;
  if (again) retry_at_ = reactor_.now() + kRetryPause;
  on_change_(done_);
}

}  // namespace sluice::capture
