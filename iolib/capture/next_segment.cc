#include "iolib/capture/next_segment.h"

#include <sys/random.h>

#include <cassert>
#include <cerrno>
#include <utility>

namespace sluice::capture {

NextSegment::NextSegment(Reactor& reactor, Disk& disk, Store& store, SegmentName first,
                         std::uint64_t most_bytes, Store::Contents contents,
                         std::function<void(bool was_refused)> on_change)
    : reactor_(reactor),
      disk_(disk),
      store_(store),
      name_(std::move(first)),
      most_bytes_(most_bytes),
      contents_(contents),
      on_change_(std::move(on_change)),
      size_bytes_(most_bytes) {}

void NextSegment::make() {
  assert(state_ == State::none);
  run(State::being_made, false);
}

// The name is used again: nothing was written to the segment, and its chain must have no hole.
void NextSegment::make_again() {
  assert(state_ == State::ready);
  run(State::being_made, true);
}

void NextSegment::remove() {
  assert(state_ == State::ready);
  run(State::being_removed, true);
}

void NextSegment::run(State state, bool has_one) {
  state_ = state;
  stop_ = false;
  disk_.run(
      [this, makes_one = state == State::being_made, has_one] {
        if (has_one) store_.discard(segment_->file, segment_->name);
        if (makes_one) segment_ = create();
        return 0;
      },
      *this);
}

Segment NextSegment::take() {
  assert(state_ == State::ready);
  state_ = State::none;
  ++name_.number;
  return *std::move(segment_);
}

// Runs on the background thread.
Result<Segment> NextSegment::create() {
  Segment segment;
  segment.name = name_;
  static_cast<void>(::getrandom(segment.id.data(), segment.id.size(), 0));
  const Result<Store::NewSegment> made = store_.create(name_, most_bytes_, contents_, stop_);
  if (made.has_error()) return made.error();
  segment.file = made->file;
  segment.size_bytes = made->size_bytes;
  return segment;
}

void NextSegment::complete(const Completion& /*completion*/) {
  const bool was_refused = refusal_.has_value();
  refusal_.reset();
  const bool made = std::exchange(state_, State::none) == State::being_made;
  if (made && segment_.has_value()) {
    state_ = State::ready;
    size_bytes_ = segment_->size_bytes;
  } else if (made && segment_.error().code != ECANCELED) {
    // A name that is already taken is not tried again.
    if (segment_.error().code == EEXIST) ++name_.number;
    refusal_ = segment_.error();
    not_before_ = reactor_.now() + kRetryPause;
  }
  on_change_(was_refused);
}

}  // namespace sluice::capture
