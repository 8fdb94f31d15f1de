#include "iolib/capture/frame_writer.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "iolib/capture/leftover.h"

namespace sluice::capture {
namespace {

static_assert(FrameWriter::kDepth * kMaxFrameBytes == kLongestHoleBytes);

// After this many EAGAIN, EINTR or short results without progress, a write has failed.
constexpr std::uint8_t kMostTries = 100;

}  // namespace

void Block::complete(const Completion& completion) {
  writer_->block_done(*this, completion.result);
}

// --- Segments ---

void FrameWriter::begin(Segment segment) {
  assert(!segment_ && at_rest() && writing_.empty() && kept_.empty());
  segment_ = std::move(segment);
  written_ = sync_covers_ = {.sequence = written_.sequence};
}

Segment FrameWriter::end() {
  assert(segment_ && !failure_ && all_durable());
  return *std::exchange(segment_, std::nullopt);
}

// A failed segment is never written to or trusted again.
void FrameWriter::fail(Error error) {
  assert(segment_);
  if (!failure_) failure_ = std::move(error);
}

Segment FrameWriter::retreat(BlockList& queue) {
  assert(failure_ && at_rest());
  failure_.reset();
  queue.splice(queue.begin(), writing_);
  queue.splice(queue.begin(), kept_);
  // These blocks count as unwritten again: a sync of the next segment must not cover them before
  // they are there.
  if (durability_ != Durability::none) written_.sequence = durable_sequence_;
  return *std::exchange(segment_, std::nullopt);
}

// --- Frames ---

void FrameWriter::write(Block& block) {
  assert(segment_ && !failure_ && in_flight_ < kDepth);
  const FrameHeader header = segment_->next_header();
  segment_->published_frames = header.durable_frames;
  block.frame_ = block.builder.seal(header, grid_bytes_);
  block.writer_ = this;
  block.position_ = header.offset;
  block.number_ = header.number;
  block.tries_ = 0;
  block.written_ = false;
  ++segment_->frames;
  segment_->offset += block.frame_.size();
  segment_->data_bytes += block.data_bytes;
  writing_.push_back(block);
  ++in_flight_;
  write_rest(block);
}

void FrameWriter::write_rest(Block& block) {
  const bool flushed = durability_ == Durability::before_forward;
  if (flushed) block.began_ = Clock::now();
  disk_.write(segment_->file, block.frame_, block.position_,
              flushed ? Disk::Durable::yes : Disk::Durable::no, block);
}

void FrameWriter::block_done(Block& block, int result) {
  const bool again = result == -EAGAIN || result == -EINTR;
  // Writes stay on the grid: after a short write, the part after its last whole grid block is
  // written again.
  const std::size_t whole =
      result > 0 ? static_cast<std::size_t>(result) / grid_bytes_ * grid_bytes_ : 0;
  block.frame_ = block.frame_.subspan(std::min(whole, block.frame_.size()));
  block.position_ += whole;
  const bool failed = (result < 0 && !again) || (whole == 0 && ++block.tries_ >= kMostTries);
  if (!block.frame_.empty() && !failed && !failure_) return write_rest(block);
  --in_flight_;
  if (block.frame_.empty()) {
    block.written_ = true;
    if (durability_ == Durability::before_forward) count_sync(Clock::now() - block.began_);
    if (!failure_) count_written();
    client_.block_written();
  } else {
    fail(Error{result < 0 ? -result : EIO, "write to segment " + to_string(segment_->name)});
  }
  client_.advanced();
}

// Blocks count as written in order, whatever order their writes complete in.
void FrameWriter::count_written() {
  const Mark before = written_;
  while (!writing_.empty() && writing_.front().written_) {
    Block& block = writing_.front();
    assert(block.sequence >= written_.sequence);
    written_ = {block.sequence, block.position_, block.number_ + 1};
    writing_.pop_front();
    kept_.push_back(block);
  }
  if (written_.frames == before.frames) return;
  if (durability_ == Durability::before_forward) {
    confirm(written_);
  } else if (durability_ == Durability::none) {
    release_until(written_.sequence);
  }
}

void FrameWriter::release_until(std::uint64_t sequence) {
  while (!kept_.empty() && kept_.front().sequence <= sequence) {
    Block& block = kept_.front();
    kept_.pop_front();
    client_.block_free(block);
  }
}

std::uint64_t FrameWriter::kept_bytes() const {
  std::uint64_t bytes = 0;
  for (const BlockList* list : {&writing_, &kept_}) {
    for (const Block& block : *list) bytes += block.builder.buffer_bytes();
  }
  return bytes;
}

// --- Durability ---

bool FrameWriter::all_durable() const {
  return at_rest() && writing_.empty() && kept_.empty() && durable_sequence_ >= written_.sequence &&
         (!segment_ || segment_->durable_frames == segment_->frames);
}

bool FrameWriter::can_sync() const {
  return segment_ && !syncs() && written_.frames > segment_->durable_frames &&
         durability_ != Durability::before_forward;
}

void FrameWriter::sync() {
  assert(can_sync());
  // The sync need not cover writes that complete later, even before it ends.
  sync_covers_ = written_;
  sync_began_ = Clock::now();
  disk_.sync(segment_->file, *this);
}

void FrameWriter::complete(const Completion& completion) {
  if (completion.result < 0) {
    fail(Error{-completion.result, "sync of segment " + to_string(segment_->name)});
  } else {
    count_sync(Clock::now() - sync_began_);
    last_sync_ = reactor_.now();
    // These blocks were written and flushed, whatever has failed meanwhile.
    confirm(sync_covers_);
  }
  client_.advanced();
}

void FrameWriter::count_sync(Duration time) {
  ++counts_.syncs;
  counts_.sync_time += time;
  counts_.longest_sync = std::max(counts_.longest_sync, time);
}

void FrameWriter::confirm(const Mark& mark) {
  segment_->durable_frames = std::max(segment_->durable_frames, mark.frames);
  const bool rose = mark.sequence > durable_sequence_;
  durable_sequence_ = std::max(durable_sequence_, mark.sequence);
  release_until(mark.sequence);
  if (rose) client_.durable_rose();
}

}  // namespace sluice::capture
