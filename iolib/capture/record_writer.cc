#include "iolib/capture/record_writer.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace sluice::capture {
namespace {

// A block with less room for data than this is full: smaller records cost more than they hold.
constexpr std::size_t kLeastRoom = 4096;
// The most commits of before-forward, or partial blocks, in flight. What comes meanwhile shares the
// next one. More in flight would be smaller, each in a whole block, and no faster
// (tests/perf/RESULTS.md).
constexpr std::size_t kMostCommits = 2;

}  // namespace

RecordWriter::RecordWriter(Reactor& reactor, Disk& disk, Store& store,
                           const SegmentWriter::Options& options, Duration flush_interval,
                           RecorderCounters& counters, Client& client)
    : reactor_(reactor),
      disk_(disk),
      durability_(options.durability),
      flush_interval_(flush_interval),
      counters_(counters),
      client_(client),
      writer_(reactor, disk, store, options, client),
      last_submit_(reactor.now()) {}

RecordWriter::~RecordWriter() { reactor_.cancel_timer(*this); }

Result<> RecordWriter::allocate(std::uint64_t all_bytes) {
  return pool_.allocate(all_bytes, writer_.grid_bytes(), disk_);
}

void RecordWriter::stop() {
  reactor_.cancel_timer(*this);
  pool_.release(disk_);
}

// --- Records ---

FrameBuilder* RecordWriter::frame_for_data() {
  if (current_ != nullptr && current_->builder.room_bytes() < kLeastRoom) submit_block();
  if (current_ == nullptr && !take_block()) return nullptr;
  return &current_->builder;
}

bool RecordWriter::append(const RecordHeader& header, std::span<const std::byte> payload) {
  if (current_ != nullptr && !current_->builder.fits(payload.size())) submit_block();
  if (current_ == nullptr && !take_block()) return false;
  current_->builder.append(header, payload);
  touched();
  return true;
}

void RecordWriter::recorded(std::size_t bytes) {
  current_->data_bytes += bytes;
  counters_.recorded_bytes.add(bytes);
  counters_.lag_bytes.add(bytes);
  if (current_->builder.room_bytes() < kLeastRoom) {
    submit_block();
  } else {
    touched();
  }
}

std::size_t RecordWriter::room_bytes() const {
  const std::size_t records = pool_.block_bytes() / kMaxPayloadBytes + 1;
  const std::size_t whole = pool_.block_bytes() - kFrameHeaderBytes -
                            records * (kRecordHeaderBytes + kRecordAlignment) - kLeastRoom;
  const std::size_t left = current_ != nullptr ? current_->builder.room_bytes() : 0;
  return std::min(pool_.free_blocks(), blocks_before_table()) * whole +
         (left >= kLeastRoom ? left - kLeastRoom + 1 : 0);
}

std::uint64_t RecordWriter::last_sequence() const {
  return current_ != nullptr && !current_->builder.empty() ? sequence_ + 1 : sequence_;
}

void RecordWriter::make_durable(std::uint64_t sequence) {
  if (sequence > sequence_) submit_block();
  writer_.sync_to(sequence);
}

// The current block got a record: has it written soon.
void RecordWriter::touched() {
  if (durability_ == Durability::before_forward) return client_.commit_wanted();
  if (flush_waits_ || is_set()) return;
  reactor_.set_timer(*this, reactor_.now() + flush_interval_);
}

void RecordWriter::flush() {
  if (current_ != nullptr && !current_->builder.empty()) submit_block();
}

void RecordWriter::flush_commit() {
  if (writer_.unwritten() < kMostCommits) flush();
}

// A partial block occupies a whole one until it is written. While the disk is behind, it gets no
// further partial blocks: records go into the current block until the disk has caught up.
void RecordWriter::expired() {
  flush_waits_ = writer_.unwritten() >= kMostCommits || pool_.free_blocks() < pool_.used_blocks();
  if (!flush_waits_) flush();
}

// --- Blocks ---

// The number of blocks that may be taken before another table is needed. A table's memory is
// outside the block budget, so only one may be unwritten at a time. Until it is written, blocks go
// into this segment only, and then taps must wait.
std::size_t RecordWriter::blocks_before_table() const {
  if (table_.empty()) return std::numeric_limits<std::size_t>::max();
  const std::uint64_t room = writer_.segment_room_bytes();
  if (segment_over_ || planned_bytes_ >= room) return 0;
  return static_cast<std::size_t>((room - planned_bytes_) / pool_.block_bytes());
}

// Takes a free block as the current one. It begins a new segment if the current segment is full.
bool RecordWriter::take_block() {
  if (pool_.free_blocks() == 0 || blocks_before_table() == 0) return false;
  const bool full = planned_bytes_ + pool_.block_bytes() > writer_.segment_room_bytes();
  const bool begins = std::exchange(segment_over_, false) || full;
  if (begins) {
    planned_bytes_ = 0;
    write_table(true);
    // Some data must follow the table, however long it is.
    planned_bytes_ = std::min(planned_bytes_, writer_.segment_room_bytes() / 2);
  }
  current_ = pool_.take();
  current_->begins_segment = begins && planned_bytes_ == 0;
  count_blocks();
  return true;
}

void RecordWriter::submit_block() { submit(*std::exchange(current_, nullptr)); }

void RecordWriter::submit(Block& block) {
  if (planned_bytes_ == 0) segment_began_ = reactor_.now();
  planned_bytes_ += block.builder.frame_bytes(writer_.grid_bytes());
  last_submit_ = reactor_.now();
  flush_waits_ = false;
  block.sequence = ++sequence_;
  writer_.submit(block);
}

void RecordWriter::write_table(bool begins_segment) {
  table_.write(
      begins_segment, [this](const SegmentTable::Add& add) { client_.list_connections(add); },
      [this](Block& block) { submit(block); });
}

// Uses the timer, because this call may be deep within the writer.
void RecordWriter::block_written() {
  if (flush_waits_) reactor_.set_timer(*this, reactor_.now());
}

void RecordWriter::block_free(Block& block) {
  counters_.lag_bytes.subtract(block.data_bytes);
  if (!pool_.put_back(block)) table_.release(block);
  count_blocks();
  block_written();
}

// --- Segments ---

void RecordWriter::end_segment_older_than(Duration age) {
  if (planned_bytes_ == 0 || reactor_.now() - segment_began_ < age) return;
  flush();
  // flush() leaves only an empty block, which was not taken for the next segment.
  if (current_ != nullptr) pool_.put_back(*std::exchange(current_, nullptr));
  count_blocks();
  planned_bytes_ = 0;
  segment_over_ = true;
  writer_.end_segment_when_durable();
}

void RecordWriter::checkpoint_after(Duration rest, const RecordHeader& header) {
  const bool resting = !segment_over_ && (current_ == nullptr || current_->builder.empty()) &&
                       reactor_.now() - last_submit_ >= rest;
  // A checkpoint's own commit needs no further checkpoint.
  const bool is_news = sequence_ != checkpoint_ && writer_.mark_is_news();
  if (!resting || !is_news || durability_ == Durability::none || !append(header, {})) return;
  flush();
  checkpoint_ = sequence_;
}

void RecordWriter::begin_again() {
  flush();
  // A table that will be written again serves as well.
  if (!table_.is_pending()) write_table(false);
}

}  // namespace sluice::capture
