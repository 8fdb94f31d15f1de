#include "iolib/capture/segment_writer.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "iolib/capture/leftover.h"

namespace sluice::capture {
namespace {

static_assert(SegmentWriter::kDepth * kMaxFrameBytes == kLongestHoleBytes);

// A write that makes no progress so often, and says no more than "again", has failed.
constexpr std::uint8_t kMostTries = 100;

std::uint64_t nanoseconds_of(std::chrono::nanoseconds time) {
  return static_cast<std::uint64_t>(time.count());
}

RecordHeader stamped(Kind kind) {
  RecordHeader header;
  header.kind = static_cast<std::uint8_t>(kind);
  header.monotonic_ns = nanoseconds_of(Clock::now().time_since_epoch());
  header.wall_ns = nanoseconds_of(std::chrono::system_clock::now().time_since_epoch());
  return header;
}

}  // namespace

void Block::complete(const Completion& completion) {
  writer_->block_done(*this, completion.result);
}

SegmentWriter::SegmentWriter(Reactor& reactor, Disk& disk, Store& store, Options options,
                             Client& client)
    : reactor_(reactor),
      disk_(disk),
      store_(store),
      options_(std::move(options)),
      client_(client),
      grid_bytes_(std::max(store.volume().grid_bytes(), kGridBytes)),
      last_sync_(reactor.now()),
      granted_bytes_(options_.segment_bytes) {}

SegmentWriter::~SegmentWriter() { reactor_.cancel_timer(tick_); }

void SegmentWriter::start() {
  for (AlignedBuffer* each : {&first_buffer_, &footer_buffer_}) {
    Result<AlignedBuffer> buffer = AlignedBuffer::allocate(grid_bytes_);
    if (buffer.has_error()) return client_.segment_refused(buffer.error());
    *each = std::move(*buffer);
  }
  first_.set_buffer(first_buffer_.bytes());
  prepare();
}

void SegmentWriter::submit(Block& block) {
  block.writer_ = this;
  queue_.push_back(&block);
  advance();
}

void SegmentWriter::sync_to(std::uint64_t sequence) {
  sync_wanted_ = std::max(sync_wanted_, sequence);
  advance();
}

void SegmentWriter::end_segment_when_durable() {
  over_ = true;
  advance();
}

void SegmentWriter::close() {
  closing_ = true;
  advance();
}

void SegmentWriter::give_up() {
  gave_up_ = true;
  close();
}

bool SegmentWriter::mark_is_news() const {
  return current_ && current_->durable_frames > current_->published_frames;
}

// One whose size is not known yet will be as large as the last.
std::uint64_t SegmentWriter::segment_room_bytes() const {
  std::size_t ahead = current_ ? 0 : 1;
  for (std::size_t i = current_ ? 0 : 1; i < queue_.size(); ++i) {
    if (queue_[i]->begins_segment) ++ahead;
  }
  const Segment* const segment = ahead == 0 ? current_.get() : ahead == 1 ? next_.get() : nullptr;
  return (segment != nullptr ? segment->size_bytes : granted_bytes_) - 2 * grid_bytes_;
}

// Everything that can be done now is done here; each completion comes back to it.
void SegmentWriter::advance() {
  if (closed_) return;
  if (failure_) {
    if (at_rest() && !end_.in_flight()) retreat();
    return;
  }
  if (gave_up_) queue_.clear();
  if (abandoning_ && !end_.in_flight() && !try_to_abandon()) return;
  place();
  if (wants_sync()) sync();
  if (closing_) finish_closing();
}

void SegmentWriter::wake_at(TimePoint time) {
  if (!tick_.is_set() || time < tick_.deadline()) reactor_.set_timer(tick_, time);
}

// --- Segments ---

void SegmentWriter::place() {
  rotating_ = false;
  while (!queue_.empty() && in_flight_ < kDepth) {
    Block& block = *queue_.front();
    if (current_ && ends_before(block)) {
      rotating_ = true;
      if (!all_durable() || end_.in_flight()) return;
      end_segment(SegmentEnd::rotation);
    }
    if (!current_) {
      if (!next_) return prepare();
      if (abandoning_) return;
      begin_segment();
    }
    queue_.pop_front();
    place_block(block);
    // Ahead of need: while half of this one is still to be written.
    if (current_->offset > current_->size_bytes / 2) prepare();
  }
  if (!over_ || !queue_.empty() || !current_) return;
  rotating_ = true;
  if (all_durable() && !end_.in_flight()) end_segment(SegmentEnd::rotation);
}

// Also where it proves to be smaller than what was planned for it. (One of full size is not: what
// it begins with may take more than that.)
bool SegmentWriter::ends_before(const Block& block) const {
  if (current_->frames <= 1) return false;
  const std::size_t frame_bytes =
      (block.builder.used_bytes() + grid_bytes_ - 1) / grid_bytes_ * grid_bytes_;
  const bool smaller = current_->size_bytes < options_.segment_bytes;
  return block.begins_segment ||
         (smaller && current_->offset + frame_bytes + grid_bytes_ > current_->size_bytes);
}

void SegmentWriter::prepare() {
  if (next_ || prepare_.in_flight() || (closing_ && queue_.empty())) return;
  if (reactor_.now() < not_before_) return wake_at(not_before_);
  prepared_ = std::make_unique<Segment>();
  prepared_->name = {options_.run, options_.worker, next_number_, SegmentState::open};
  prepare_error_.reset();
  not_needed_ = false;
  disk_.run(
      [this] {
        static_cast<void>(::getrandom(prepared_->id.data(), prepared_->id.size(), 0));
        const auto contents = options_.durability == Durability::before_forward
                                  ? Store::Contents::zeroed
                                  : Store::Contents::any;
        const Result<Store::NewSegment> made =
            store_.create(prepared_->name, options_.segment_bytes, contents, not_needed_);
        if (made.has_value()) {
          prepared_->file = made->file;
          prepared_->size_bytes = made->size_bytes;
        } else {
          prepare_error_ = store_.refusal(made.error(), prepared_->name, options_.segment_bytes);
        }
        return 0;
      },
      prepare_);
}

void SegmentWriter::prepared(int /*result*/) {
  if (prepare_error_ && prepare_error_->code == ECANCELED) return advance();
  if (prepare_error_) {
    // A name that a file has already is never tried again.
    if (prepare_error_->code == EEXIST) ++next_number_;
    not_before_ = reactor_.now() + kRetryPause;
    refused_ = prepare_error_->code != 0 ? prepare_error_->code : EIO;
    client_.segment_refused(*prepare_error_);
    if (!queue_.empty()) wake_at(not_before_);
  } else {
    ++next_number_;
    next_ = std::move(prepared_);
    granted_bytes_ = next_->size_bytes;
    if (std::exchange(refused_, 0) != 0) client_.segment_granted();
  }
  advance();
}

void SegmentWriter::begin_segment() {
  current_ = std::move(next_);
  written_frames_ = 0;
  ++counts_.segments;
  write_first_frame();
}

void SegmentWriter::write_first_frame() {
  const SegmentInfo info{options_.run, options_.worker, current_->name.number, options_.program,
                         std::string(to_string(options_.durability))};
  first_.reset();
  first_.writer_ = this;
  first_.builder.append(stamped(Kind::segment), encode(info));
  // Behind what was confirmed before.
  first_.sequence = written_sequence_;
  place_block(first_);
}

void SegmentWriter::look_after_segments() {
  if (closing_ || look_.in_flight() || (!current_ && !next_)) return;
  struct Looked {
    int file;
    SegmentName name;
  };
  std::vector<Looked> segments;
  if (current_) segments.push_back({current_->file, current_->name});
  if (next_) segments.push_back({next_->file, next_->name});
  gone_.clear();
  disk_.run(
      [this, segments = std::move(segments)] {
        for (const Looked& each : segments) {
          if (!store_.holds(each.file, each.name)) gone_.push_back(each.name.number);
        }
        return 0;
      },
      look_);
}

void SegmentWriter::looked_after(int /*result*/) {
  const auto is_gone = [this](const std::unique_ptr<Segment>& segment) {
    return segment && std::ranges::find(gone_, segment->name.number) != gone_.end();
  };
  if (is_gone(current_)) {
    fail(Error{ENOENT, "segment " + to_string(current_->name) + " is gone from its directory"});
  }
  if (is_gone(next_)) replace_next();
  advance();
}

// Under the same number: nothing was written to it, and its chain is to have no hole.
void SegmentWriter::replace_next() {
  disk_.run(
      [this, file = next_->file, name = next_->name] {
        store_.discard(file, name);
        return 0;
      },
      look_);
  gone_.clear();
  next_number_ = next_->name.number;
  next_.reset();
  prepare();
}

bool SegmentWriter::all_durable() const {
  return placed_.empty() && at_rest() && durable_sequence_ >= written_sequence_ &&
         (!current_ || current_->durable_frames == current_->frames);
}

void SegmentWriter::end_segment(SegmentEnd why) {
  ending_ = std::move(current_);
  over_ = false;
  end_error_.reset();
  disk_.run(
      [this, why] {
        if (Result<> sealed = seal(*ending_, why); sealed.has_error()) end_error_ = sealed.error();
        return 0;
      },
      end_);
}

// On the background thread: the footer, then the end of the file.
Result<> SegmentWriter::seal(Segment& segment, SegmentEnd why) {
  FrameBuilder frame(footer_buffer_.bytes());
  frame.append(stamped(Kind::footer),
               encode(FooterInfo{segment.data_bytes, static_cast<std::uint32_t>(why)}));
  FrameHeader header;
  header.segment = segment.id;
  header.number = segment.frames;
  header.durable_frames = segment.frames;
  header.offset = segment.offset;
  const std::span<const std::byte> bytes = frame.seal(header, grid_bytes_);
  if (Result<> written = store_.volume().write(segment.file, bytes, segment.offset);
      written.has_error()) {
    static_cast<void>(store_.abandon(segment.file, segment.name, segment.offset + bytes.size()));
    return written;
  }
  return store_.seal(segment.file, segment.name, segment.offset + bytes.size());
}

void SegmentWriter::ended(int /*result*/) {
  if (end_error_) client_.seal_failed(*end_error_);
  if (end_error_ && abandoning_) {
    abandon_at_ = reactor_.now() + kRetryPause;
    return advance();
  }
  ending_.reset();
  abandoning_ = false;
  // Not before: what was allocated for the one that ended, and not used, may be all there is.
  if (!current_) prepare();
  advance();
}

void SegmentWriter::finish_closing() {
  if (queue_.empty()) not_needed_ = true;
  if (!queue_.empty() || !placed_.empty() || !at_rest() || end_.in_flight() ||
      prepare_.in_flight() || look_.in_flight()) {
    return;
  }
  if (current_) {
    if (!all_durable()) return;
    return end_segment(SegmentEnd::end_of_run);
  }
  if (next_) {
    ending_ = std::move(next_);
    end_error_.reset();
    return disk_.run(
        [this] {
          store_.discard(ending_->file, ending_->name);
          return 0;
        },
        end_);
  }
  closed_ = true;
  client_.closed();
}

// --- Frames ---

void SegmentWriter::place_block(Block& block) {
  FrameHeader header;
  header.segment = current_->id;
  header.number = current_->frames++;
  header.durable_frames = current_->published_frames = current_->durable_frames;
  header.offset = current_->offset;
  if (std::exchange(block.begins_segment, false)) over_ = false;
  block.frame_ = block.builder.seal(header, grid_bytes_);
  block.position_ = header.offset;
  block.number_ = header.number;
  block.tries_ = 0;
  block.written_ = false;
  current_->offset += block.frame_.size();
  current_->data_bytes += block.data_bytes;
  placed_.push_back(&block);
  ++in_flight_;
  write(block);
}

void SegmentWriter::write(Block& block) {
  const bool flushed = options_.durability == Durability::before_forward;
  if (flushed) block.began_ = Clock::now();
  disk_.write(current_->file, block.frame_, block.position_,
              flushed ? Disk::Durable::yes : Disk::Durable::no, block);
}

void SegmentWriter::block_done(Block& block, int result) {
  const bool again = result == -EAGAIN || result == -EINTR;
  // On the grid: what lies behind a short write's last whole block is written again.
  const std::size_t whole =
      result > 0 ? static_cast<std::size_t>(result) / grid_bytes_ * grid_bytes_ : 0;
  block.frame_ = block.frame_.subspan(std::min(whole, block.frame_.size()));
  block.position_ += whole;
  const bool failed = (result < 0 && !again) || (whole == 0 && ++block.tries_ >= kMostTries);
  if (!block.frame_.empty() && !failed && !failure_) return write(block);
  --in_flight_;
  if (block.frame_.empty()) {
    block.written_ = true;
    if (options_.durability == Durability::before_forward) count_sync(Clock::now() - block.began_);
    if (!failure_) count_written();
    client_.block_written();
  } else if (!failure_) {
    fail(Error{result < 0 ? -result : EIO, "write to segment " + to_string(current_->name)});
  }
  advance();
}

// What is written counts in order, whatever order it was finished in.
void SegmentWriter::count_written() {
  const std::size_t before = written_;
  while (written_ < placed_.size() && placed_[written_]->written_) {
    written_sequence_ = std::max(written_sequence_, placed_[written_]->sequence);
    written_frames_ = placed_[written_]->number_ + 1;
    ++written_;
  }
  if (written_ == before) return;
  if (options_.durability == Durability::before_forward) {
    confirm(written_sequence_, written_frames_);
  } else if (options_.durability == Durability::none) {
    release_until(written_sequence_);
  }
}

// --- Durability ---

bool SegmentWriter::wants_sync() {
  if (!current_ || sync_.in_flight() || written_frames_ <= current_->durable_frames ||
      options_.durability == Durability::before_forward) {
    return false;
  }
  if (options_.durability == Durability::batch || sync_wanted_ > durable_sequence_) return true;
  if (rotating_ || (closing_ && queue_.empty())) return in_flight_ == 0;
  if (options_.durability == Durability::none) return false;
  std::uint64_t kept = 0;
  for (const Block* block : placed_) kept += block->buffer_.size();
  if (2 * kept >= options_.kept_bytes) return true;
  const TimePoint due = last_sync_ + options_.sync_interval;
  if (reactor_.now() >= due) return true;
  wake_at(due);
  return false;
}

void SegmentWriter::sync() {
  // Later writes may be finished before it, but need not be covered (CAPTURE.md, "Writer").
  sync_covers_ = written_sequence_;
  sync_covers_frames_ = written_frames_;
  sync_began_ = Clock::now();
  disk_.sync(current_->file, sync_);
}

void SegmentWriter::synced(int result) {
  if (result < 0) {
    fail(Error{-result, "sync of segment " + to_string(current_->name)});
  } else {
    const TimePoint now = Clock::now();
    count_sync(now - sync_began_);
    last_sync_ = reactor_.now();
    // Whatever has failed meanwhile: these were written and flushed.
    confirm(sync_covers_, sync_covers_frames_);
  }
  advance();
}

void SegmentWriter::count_sync(Duration time) {
  ++counts_.syncs;
  counts_.sync_time += time;
  counts_.longest_sync = std::max(counts_.longest_sync, time);
}

void SegmentWriter::confirm(std::uint64_t sequence, std::uint32_t frames) {
  current_->durable_frames = std::max(current_->durable_frames, frames);
  const bool rose = sequence > durable_sequence_;
  durable_sequence_ = std::max(durable_sequence_, sequence);
  release_until(sequence);
  if (rose) client_.durable_rose();
}

void SegmentWriter::release_until(std::uint64_t sequence) {
  while (written_ > 0 && placed_.front()->sequence <= sequence) {
    Block* block = placed_.front();
    placed_.pop_front();
    --written_;
    if (block == &first_) continue;
    // A first frame alone is no progress: a disk may take that and nothing else, again and again.
    failures_in_a_row_ = 0;
    client_.block_free(*block);
  }
}

// --- Errors ---

// Gives the segment that failed its name: what is written again may not be found before that, or a
// reader would take both for one stream with a hole.
void SegmentWriter::abandon() {
  end_error_.reset();
  abandoning_ = true;
  abandon_at_ = TimePoint::max();
  disk_.run(
      [this] {
        Result<> done = store_.abandon(ending_->file, ending_->name, ending_->offset);
        if (done.has_error()) end_error_ = done.error();
        return 0;
      },
      end_);
}

// Never retried on the same file, never believed afterwards.
void SegmentWriter::fail(Error error) {
  if (failure_) return;
  failure_ = std::move(error);
  ++counts_.failures;
}

// False while it has to wait for the next try.
bool SegmentWriter::try_to_abandon() {
  if (gave_up_) {
    ending_.reset();
    abandoning_ = false;
    return true;
  }
  if (reactor_.now() < abandon_at_) {
    wake_at(abandon_at_);
    return false;
  }
  abandon();
  return true;
}

// Nothing is in flight any more: what is unconfirmed goes back to the queue, for another segment.
void SegmentWriter::retreat() {
  for (auto block = placed_.rbegin(); block != placed_.rend(); ++block) {
    if (*block != &first_) queue_.push_front(*block);
  }
  placed_.clear();
  written_ = 0;
  // Written once is not written: a sync of the next segment must not cover it before it is there.
  if (!queue_.empty())
    written_sequence_ = std::min(written_sequence_, queue_.front()->sequence - 1);
  ending_ = std::move(current_);
  abandon();
  if (++failures_in_a_row_ > 1) {
    const std::uint32_t doublings = std::min(failures_in_a_row_ - 2, kMostDoublings);
    not_before_ = reactor_.now() + kRetryPause * (1 << doublings);
  }
  const Error error = *std::exchange(failure_, std::nullopt);
  client_.segment_lost(error);
  advance();
}

}  // namespace sluice::capture
