#include "iolib/capture/segment_writer.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

namespace sluice::capture {

SegmentWriter::SegmentWriter(Reactor& reactor, Disk& disk, Store& store, Options options,
                             Client& client)
    : reactor_(reactor),
      disk_(disk),
      store_(store),
      options_(std::move(options)),
      client_(client),
      grid_bytes_(std::max(store.volume().grid_bytes(), kGridBytes)),
      frames_(reactor, disk, options_.durability, grid_bytes_, *this),
      next_(reactor, disk, store, {options_.run, options_.worker, 0, SegmentState::open},
            options_.segment_bytes,
            options_.durability == Durability::before_forward ? Store::Contents::zeroed
                                                              : Store::Contents::any,
            [this](bool was_refused) { next_changed(was_refused); }),
      ending_(reactor, disk, store, [this](const Result<>& done) { ended(done); }) {}

SegmentWriter::~SegmentWriter() { reactor_.cancel_timer(*this); }

void SegmentWriter::start() {
  Result<AlignedBuffer> memory = AlignedBuffer::allocate(2 * grid_bytes_);
  if (memory.has_error()) return client_.segment_refused(memory.error());
  memory_ = std::move(*memory);
  first_.set_buffer(memory_.bytes().first(grid_bytes_));
  ending_.set_buffer(memory_.bytes().last(grid_bytes_));
  prepare();
}

void SegmentWriter::submit(Block& block) {
  queue_.push_back(block);
  advance();
}

void SegmentWriter::sync_to(std::uint64_t sequence) {
  sync_wanted_ = std::max(sync_wanted_, sequence);
  advance();
}

void SegmentWriter::end_segment_when_durable() {
  if (state_ == State::writing) go_to(State::segment_over);
  advance();
}

void SegmentWriter::close() {
  if (state_ < State::closing) go_to(State::closing);
  advance();
}

void SegmentWriter::give_up() {
  if (state_ < State::giving_up) go_to(State::giving_up);
  advance();
}

void SegmentWriter::go_to(State state) {
  const bool may_return = state_ == State::segment_over && state == State::writing;
  assert(state > state_ || may_return);
  assert(state != State::closed || state_ >= State::closing);
  state_ = state;
}

bool SegmentWriter::mark_is_news() const {
  const Segment* const current = frames_.segment();
  return current != nullptr && current->durable_frames > current->published_frames;
}

int SegmentWriter::refused() const {
  if (frames_.segment() != nullptr || !next_.refusal()) return 0;
  return next_.refusal()->code != 0 ? next_.refusal()->code : EIO;
}

// A segment whose size is not known yet is assumed to be as large as the last one.
std::uint64_t SegmentWriter::segment_room_bytes() const {
  const Segment* const current = frames_.segment();
  auto ahead = std::count_if(queue_.begin(), queue_.end(),
                             [](const Block& block) { return block.begins_segment; });
  // Without a current segment, the first block in the queue begins one, whether it says so or not.
  const bool first_counts = !queue_.empty() && queue_.front().begins_segment;
  if (current == nullptr && !first_counts) ++ahead;
  const Segment* const segment = ahead == 0 ? current : ahead == 1 ? next_.ready() : nullptr;
  return (segment != nullptr ? segment->size_bytes : next_.size_bytes()) - 2 * grid_bytes_;
}

// Does everything that can be done now. Every completion calls it again.
void SegmentWriter::advance() {
  if (state_ == State::closed) return;
  if (frames_.failure()) {
    if (frames_.at_rest() && !ending_.in_flight()) retreat();
    return;
  }
  if (state_ == State::giving_up) queue_.clear();
  if (ending_.state() == EndingSegment::State::waiting) {
    if (state_ == State::giving_up) {
      ending_.give_up();
    } else if (reactor_.now() < ending_.retry_at()) {
      return wake_at(ending_.retry_at());
    } else {
      ending_.abandon_again();
    }
  }
  place();
  if (wants_sync()) frames_.sync();
  if (is_through()) finish_closing();
}

void SegmentWriter::wake_at(TimePoint time) {
  if (!is_set() || time < deadline()) reactor_.set_timer(*this, time);
}

// --- Segments ---

void SegmentWriter::place() {
  while (true) {
    if (segment_ends()) {
      if (!frames_.all_durable() || ending_.in_flight()) return;
      ending_.seal(frames_.end(), is_through() ? SegmentEnd::end_of_run : SegmentEnd::rotation);
      if (state_ == State::segment_over) go_to(State::writing);
    }
    if (queue_.empty() || frames_.in_flight() == FrameWriter::kDepth) return;
    if (frames_.segment() == nullptr) {
      if (next_.ready() == nullptr) return prepare();
      if (ending_.state() == EndingSegment::State::abandoning) return;
      begin_segment();
    }
    Block& block = queue_.front();
    queue_.pop_front();
    const bool begins = std::exchange(block.begins_segment, false);
    if (begins && state_ == State::segment_over) go_to(State::writing);
    frames_.write(block);
    // Prepares the next segment while half of this one is still unwritten.
    const Segment& current = *frames_.segment();
    if (current.offset > current.size_bytes / 2) prepare();
  }
}

// Whether the current segment has all its blocks.
bool SegmentWriter::segment_ends() const {
  if (frames_.segment() == nullptr) return false;
  return queue_.empty() ? state_ != State::writing : ends_before(queue_.front());
}

// Whether the segment ends before `block`. It also does if it is smaller than planned and the block
// does not fit. A segment of full size is not checked: its table may exceed that size.
bool SegmentWriter::ends_before(const Block& block) const {
  const Segment& current = *frames_.segment();
  if (current.frames <= 1) return false;
  const bool smaller = current.size_bytes < options_.segment_bytes;
  const std::uint64_t end = current.offset + block.builder.frame_bytes(grid_bytes_) + grid_bytes_;
  return block.begins_segment || (smaller && end > current.size_bytes);
}

void SegmentWriter::begin_segment() {
  const SegmentInfo info{options_.run, options_.worker, next_.ready()->name.number,
                         options_.program, std::string(to_string(options_.durability))};
  frames_.begin(next_.take());
  ++segments_;
  first_.reset();
  first_.builder.append(stamped(Kind::segment), encode(info));
  // Its sequence is that of the last written block.
  first_.sequence = frames_.written_sequence();
  frames_.write(first_);
}

void SegmentWriter::prepare() {
  if (!next_.is_none() || is_through()) return;
  if (reactor_.now() < next_.not_before()) return wake_at(next_.not_before());
  next_.make();
}

void SegmentWriter::next_changed(bool was_refused) {
  if (next_.refusal()) {
    client_.segment_refused(*next_.refusal());
    if (!queue_.empty()) wake_at(next_.not_before());
  } else if (was_refused && next_.ready() != nullptr) {
    client_.segment_granted();
  }
  advance();
}

void SegmentWriter::ended(const Result<>& done) {
  if (done.has_error()) client_.seal_failed(done.error());
  // Prepares the next segment only now, because the unused space of the one that ended may be all
  // there is.
  const bool is_over = ending_.state() == EndingSegment::State::none;
  if (is_over && frames_.segment() == nullptr) prepare();
  advance();
}

void SegmentWriter::look_after_segments() {
  if (state_ >= State::closing || look_.in_flight()) return;
  std::vector<Segment> segments;
  for (const Segment* each : {frames_.segment(), next_.ready()}) {
    if (each != nullptr) segments.push_back(*each);
  }
  if (segments.empty()) return;
  gone_.clear();
  disk_.run(
      [this, segments = std::move(segments)] {
        for (const Segment& each : segments) {
          if (!store_.holds(each.file, each.name)) gone_.push_back(each.name.number);
        }
        return 0;
      },
      look_);
}

void SegmentWriter::looked_after(const Completion& /*completion*/) {
  const auto is_gone = [this](const Segment* segment) {
    return segment != nullptr && std::ranges::find(gone_, segment->name.number) != gone_.end();
  };
  const Segment* const current = frames_.segment();
  if (is_gone(current)) {
    frames_.fail(
        {ENOENT, "segment " + to_string(current->name) + " was removed from its directory"});
  }
  if (is_gone(next_.ready()) && !is_through()) next_.make_again();
  advance();
}

void SegmentWriter::finish_closing() {
  next_.stop();
  if (frames_.segment() != nullptr || ending_.state() != EndingSegment::State::none ||
      next_.in_flight() || look_.in_flight()) {
    return;
  }
  if (next_.ready() != nullptr) return next_.remove();
  go_to(State::closed);
  client_.closed();
}

// --- Frames ---

void SegmentWriter::block_free(Block& block) {
  // A first frame alone is not progress: a disk may accept that and nothing else, again and again.
  if (&block == &first_) return;
  failures_in_a_row_ = 0;
  client_.block_free(block);
}

bool SegmentWriter::wants_sync() {
  if (!frames_.can_sync()) return false;
  if (options_.durability == Durability::batch || sync_wanted_ > frames_.durable_sequence()) {
    return true;
  }
  if (segment_ends()) return frames_.in_flight() == 0;
  // While the last flush runs, nothing can be written. The flushes before it therefore cover ever
  // smaller parts: at most half of the segment, then at most half of its rest, and so on.
  const Segment& current = *frames_.segment();
  if (current.offset + frames_.unsynced_bytes() >= current.size_bytes) return true;
  if (options_.durability == Durability::none) return false;
  if (2 * frames_.kept_bytes() >= options_.kept_bytes) return true;
  const TimePoint due = frames_.last_sync() + options_.sync_interval;
  if (reactor_.now() >= due) return true;
  wake_at(due);
  return false;
}

// Nothing is in flight any more: the unconfirmed blocks go back to the queue, for another segment.
void SegmentWriter::retreat() {
  const Error error = *frames_.failure();
  ++failures_;
  ending_.abandon(frames_.retreat(queue_));
  if (first_.is_linked()) queue_.erase(queue_.iterator_to(first_));
  if (++failures_in_a_row_ > 1) {
    const std::uint32_t doublings = std::min(failures_in_a_row_ - 2, kMostDoublings);
    next_.put_off(reactor_.now() + kRetryPause * (1 << doublings));
  }
  client_.segment_lost(error);
  advance();
}

}  // namespace sluice::capture
