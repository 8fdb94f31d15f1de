#include "iolib/capture/recorder.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <limits>
#include <utility>

#include "iolib/pipe/splice.h"

namespace sluice::capture {
namespace {

// A block with less room than this for data is full: smaller records cost more than they hold.
constexpr std::size_t kLeastRoom = 4096;
// The wall clock is looked at this often, and a step of more than this is recorded.
constexpr Duration kHousekeeping = std::chrono::seconds(1);
constexpr std::int64_t kClockStep = 1'000'000;
// So many commits of before-forward, or partial blocks, are under way at most, and what comes
// meanwhile shares the next: more of them are smaller, each in a whole block, and no faster
// (tests/perf/RESULTS.md).
constexpr std::size_t kMostCommits = 2;
// What a segment begins with is written in blocks of this size.
constexpr std::size_t kTableBlockBytes = 256 << 10;

std::size_t spill_count(const RecorderOptions& options) {
  if (options.when_full != WhenFull::block) return 0;
  return options.buffer_bytes / Recorder::kSpillShare / Reactor::kReceiveBytes;
}

std::uint64_t blocks_bytes(const RecorderOptions& options) {
  return options.buffer_bytes - spill_count(options) * Reactor::kReceiveBytes;
}

std::size_t block_size(std::uint64_t all_bytes, std::size_t grid_bytes) {
  const std::uint64_t share = all_bytes / Recorder::kLeastBlocks;
  const auto size =
      static_cast<std::size_t>(std::min<std::uint64_t>(share, Recorder::kLargestBlock));
  // Two grid blocks hold any record but data, and kLeastRoom besides.
  return std::max(size / grid_bytes * grid_bytes, 2 * grid_bytes);
}

template <class Number>
void set(std::atomic<std::uint64_t>& counter, Number value) {
  counter.store(static_cast<std::uint64_t>(value), std::memory_order_relaxed);
}
void add(std::atomic<std::uint64_t>& counter, std::uint64_t amount) {
  set(counter, counter.load(std::memory_order_relaxed) + amount);
}

}  // namespace

Result<std::unique_ptr<Recorder>> Recorder::create(Reactor& reactor, Disk& disk, Store& store,
                                                   const RecorderOptions& options) {
  std::unique_ptr<Recorder> recorder(new Recorder(reactor, disk, store, options));
  if (Result<> allocated = recorder->allocate(disk); allocated.has_error()) {
    return allocated.error();
  }
  return recorder;
}

Recorder::Recorder(Reactor& reactor, Disk& disk, Store& store, const RecorderOptions& options)
    : reactor_(reactor),
      options_(options),
      free_spills_(spill_count(options)),
      block_bytes_(
          block_size(blocks_bytes(options), std::max(store.volume().grid_bytes(), kGridBytes))),
      writer_(reactor, disk, store, options.segments, *this),
      last_submit_(reactor.now()) {}

Result<> Recorder::allocate(Disk& disk) {
  const std::size_t count =
      std::max<std::size_t>(blocks_bytes(options_) / block_bytes_, kLeastBlocks);
  Result<AlignedBuffer> buffer = AlignedBuffer::allocate(count * block_bytes_);
  if (buffer.has_error()) return buffer.error();
  buffer_ = std::move(*buffer);
  disk.prepare_buffer(buffer_.bytes());
  blocks_ = std::vector<Block>(count);
  for (std::size_t i = 0; i < count; ++i) {
    blocks_[i].set_buffer(buffer_.bytes().subspan(i * block_bytes_, block_bytes_));
    free_.push_back(&blocks_[i]);
  }
  null_ = OwnedFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (!null_) return errno_error("open /dev/null");
  read_clocks();
  reactor_.set_timer(housekeeping_, reactor_.now() + kHousekeeping);
  return {};
}

void Recorder::start() { writer_.start(); }

Recorder::~Recorder() {
  for (Chore* chore : {&soon_, &flush_, &housekeeping_}) reactor_.cancel_timer(*chore);
}

// --- Connections ---

Recording& Recorder::open(std::uint64_t connection, OpenInfo info,
                          const RecordingOptions& options) {
  info.began_monotonic_ns = stamp(Kind::open).monotonic_ns;
  info.began_wall_ns = stamp(Kind::open).wall_ns;
  auto recording = std::make_unique<Recording>(*this, connection, std::move(info), options);
  Recording& opened = *recording;
  recordings_[connection] = std::move(recording);
  opened.touch();
  return opened;
}

void Recorder::remove_if_finished(Recording& recording) {
  if (!recording.finished()) return;
  for (SideTap& tap : recording.taps_) {
    if (tap.waiting_) std::erase(waiting_, &tap);
    release_spill(tap);
  }
  recordings_.erase(recording.connection_);
}

// Something of it waits for room.
void Recorder::unsettled(Recording& recording) {
  if (!recording.settled_) return;
  if (recording.closed_ && recording.gates_ == 0 && unsettled_.size() >= options_.most_unsettled) {
    // Its caller sees settled_, and removes it.
    ++lost_connections_;
    add(counters_.lost_connections, 1);
    return;
  }
  recording.settled_ = false;
  unsettled_.push_back(&recording);
}

void Recorder::wait_for_room(SideTap& tap) {
  if (std::exchange(tap.waiting_, true)) return;
  waiting_.push_back(&tap);
}

// Room beside the blocks for one receive of this side; false if others have it all.
bool Recorder::reserve_spill(SideTap& tap) {
  if (tap.reserved_) return true;
  if (free_spills_ == 0) return false;
  --free_spills_;
  return tap.reserved_ = true;
}

void Recorder::release_spill(SideTap& tap) {
  if (std::exchange(tap.reserved_, false)) ++free_spills_;
}

void Recorder::add_gate(SideTap& tap, std::uint64_t sequence, std::uint64_t offset) {
  // One wake-up, and one send, for all that a commit covers.
  if (!gates_.empty() && gates_.back().tap == &tap && gates_.back().sequence == sequence) {
    gates_.back().offset = offset;
    return;
  }
  ++tap.recording_.gates_;
  gates_.push_back({&tap, sequence, offset});
  soon();
}

// --- Records ---

RecordHeader Recorder::stamp(Kind kind) const {
  using std::chrono::nanoseconds;
  const std::int64_t now = nanoseconds(reactor_.now().time_since_epoch()).count();
  RecordHeader header;
  header.kind = static_cast<std::uint8_t>(kind);
  header.monotonic_ns = static_cast<std::uint64_t>(now);
  header.wall_ns = static_cast<std::uint64_t>(now + wall_offset_ns_);
  return header;
}

// Where data can be put; null if there is no room at all.
FrameBuilder* Recorder::frame_for_data() {
  if (current_ != nullptr && current_->builder.room_bytes() < kLeastRoom) submit_block();
  if (current_ == nullptr && !take_block()) return nullptr;
  return &current_->builder;
}

bool Recorder::append(const RecordHeader& header, std::span<const std::byte> payload) {
  if (current_ != nullptr && !current_->builder.fits(payload.size())) submit_block();
  if (current_ == nullptr && !take_block()) return false;
  current_->builder.append(header, payload);
  touched();
  return true;
}

void Recorder::recorded(std::size_t bytes) {
  current_->data_bytes += bytes;
  add(counters_.recorded_bytes, bytes);
  add(counters_.lag_bytes, bytes);
  if (current_->builder.room_bytes() < kLeastRoom) {
    submit_block();
  } else {
    touched();
  }
}

void Recorder::dropped(GapReason reason, std::uint64_t bytes) {
  add(counters_.dropped_bytes[static_cast<std::size_t>(reason)], bytes);
}

// What surely fits, in as many records as it takes.
std::size_t Recorder::room_bytes() const {
  const std::size_t records = block_bytes_ / kMaxPayloadBytes + 1;
  const std::size_t whole = block_bytes_ - kFrameHeaderBytes -
                            records * (kRecordHeaderBytes + kRecordAlignment) - kLeastRoom;
  const std::size_t left = current_ != nullptr ? current_->builder.room_bytes() : 0;
  return std::min(free_.size(), blocks_before_table()) * whole +
         (left >= kLeastRoom ? left - kLeastRoom + 1 : 0);
}

GapReason Recorder::why_no_room() const {
  const int refused = writer_.refused();
  if (refused == 0) return GapReason::buffers_full;
  return refused == ENOSPC || refused == EDQUOT ? GapReason::disk_full : GapReason::disk_failed;
}

// The block that holds what was recorded last.
std::uint64_t Recorder::last_sequence() const {
  return current_ != nullptr && !current_->builder.empty() ? sequence_ + 1 : sequence_;
}

void Recorder::make_durable(std::uint64_t sequence) {
  if (sequence > sequence_) submit_block();
  writer_.sync_to(sequence);
}

void Recorder::discard(Pipe& pipe) {
  while (!pipe.empty()) {
    const Transfer out = splice_out(pipe, null_.get(), pipe.held_bytes());
    if (out.status != Transfer::Status::moved) return;
  }
}

// --- Blocks ---

// A segment's table is beyond the budget of blocks. While one is not written there is no other: so
// many more blocks go into this segment, then who has more has to wait.
std::size_t Recorder::blocks_before_table() const {
  if (table_blocks_.empty()) return std::numeric_limits<std::size_t>::max();
  const std::uint64_t room = writer_.segment_room_bytes();
  if (segment_over_ || planned_bytes_ >= room) return 0;
  return static_cast<std::size_t>((room - planned_bytes_) / block_bytes_);
}

// Takes a free block as the current one, in a new segment if this one is full.
bool Recorder::take_block() {
  if (free_.empty() || blocks_before_table() == 0) return false;
  const bool full = planned_bytes_ + block_bytes_ > writer_.segment_room_bytes();
  const bool begins = std::exchange(segment_over_, false) || full;
  if (begins) {
    planned_bytes_ = 0;
    write_table(true);
    // However long the table is, some data has to follow it.
    planned_bytes_ = std::min(planned_bytes_, writer_.segment_room_bytes() / 2);
  }
  current_ = free_.back();
  free_.pop_back();
  current_->reset();
  current_->begins_segment = begins && planned_bytes_ == 0;
  set(counters_.blocks_in_use, blocks_.size() - free_.size());
  return true;
}

void Recorder::submit_block() {
  Block* block = std::exchange(current_, nullptr);
  submit(*block);
}

void Recorder::submit(Block& block) {
  if (planned_bytes_ == 0) segment_began_ = reactor_.now();
  planned_bytes_ += block.frame_bytes(writer_.grid_bytes());
  last_submit_ = reactor_.now();
  flush_waits_ = false;
  block.sequence = ++sequence_;
  writer_.submit(block);
}

// Every connection that is alive, so that the segments before can be deleted.
void Recorder::write_table(bool begins_segment) {
  std::unique_ptr<OwnedBlock> table;
  const auto finish = [&] {
    if (!table) return;
    table->block.begins_segment = std::exchange(begins_segment, false);
    Block& block = table->block;
    table_blocks_.push_back(std::move(table));
    submit(block);
    if (table_begin_ == 0) table_begin_ = block.sequence;
  };
  table_begin_ = 0;
  for (const auto& [connection, recording] : recordings_) {
    if (!recording->opened_ || recording->close_written_) continue;
    const std::vector<std::byte> payload = encode(recording->snapshot(), true);
    if (table && !table->block.builder.fits(payload.size())) finish();
    if (!table) {
      table = std::make_unique<OwnedBlock>();
      if (table->allocate(kTableBlockBytes).has_error()) return;
    }
    RecordHeader header = stamp(Kind::open);
    header.flags = RecordHeader::kContinued;
    header.connection = connection;
    table->block.builder.append(header, payload);
  }
  finish();
}

// Something was put into the current block: it will not wait for long.
void Recorder::touched() {
  if (options_.segments.durability == Durability::before_forward) return soon();
  if (flush_waits_ || flush_.is_set()) return;
  reactor_.set_timer(flush_, reactor_.now() + options_.flush_interval);
}

void Recorder::flush() {
  if (current_ != nullptr && !current_->builder.empty()) submit_block();
}

// A partial block takes up a whole one until it is written. A disk that is behind gets no more of
// them: what comes meanwhile goes into the same one, until the disk has got on.
void Recorder::flush_in_time() {
  flush_waits_ = writer_.unwritten() >= kMostCommits || 2 * free_.size() < blocks_.size();
  if (!flush_waits_) flush();
}

// Not from here: this may be deep within the writer.
void Recorder::block_written() {
  if (flush_waits_) reactor_.set_timer(flush_, reactor_.now());
}

void Recorder::block_free(Block& block) {
  set(counters_.lag_bytes, counters_.lag_bytes.load(std::memory_order_relaxed) - block.data_bytes);
  const std::less_equal<> before;
  if (before(blocks_.data(), &block) && before(&block, &blocks_.back())) {
    free_.push_back(&block);
  } else {
    std::erase_if(table_blocks_, [&](const auto& table) { return &table->block == &block; });
  }
  set(counters_.blocks_in_use, blocks_.size() - free_.size());
  block_written();
  if (!unsettled_.empty() || !waiting_.empty() || on_closed_) soon();
}

// --- Housekeeping ---

// Once in a turn, however many completions it brought.
void Recorder::work() {
  if (options_.segments.durability == Durability::before_forward &&
      writer_.unwritten() < kMostCommits) {
    flush();
  }
  open_gates();
  use_room();
  count_writer();
  if (on_closed_ && unsettled_.empty() && write_lost()) {
    flush();
    writer_.close();
  }
}

void Recorder::open_gates() {
  while (!gates_.empty() && gates_.front().sequence <= writer_.durable_sequence()) {
    const Gate gate = gates_.front();
    gates_.pop_front();
    held_up_ = false;
    Recording& recording = gate.tap->recording_;
    --recording.gates_;
    gate.tap->confirmed_ = std::max(gate.tap->confirmed_, gate.offset);
    gate.tap->wake();
    remove_if_finished(recording);
  }
}

// First what waits to be written, in order; then those who may receive again.
void Recorder::use_room() {
  while (!unsettled_.empty() && unsettled_.front()->settle()) {
    Recording& recording = *unsettled_.front();
    unsettled_.pop_front();
    recording.settled_ = true;
    remove_if_finished(recording);
  }
  if (!unsettled_.empty() || room_bytes() < least_allowance()) return;
  // No wake-up ends a session within this turn: whoever is in the list stays alive.
  const std::deque<SideTap*> waiting = std::exchange(waiting_, {});
  held_up_ = false;
  for (SideTap* tap : waiting) tap->waiting_ = false;
  for (SideTap* tap : waiting) tap->wake();
}

void Recorder::segment_lost(const Error& error) {
  tell(Event::disk_failed, error);
  if (writer_.durable_sequence() < writer_.written_sequence()) {
    // Some of it can no longer be written again: no sink may confirm what it may have lost.
    for (const auto& [connection, recording] : recordings_) recording->refuse_to_confirm();
  }
  flush();
  // One that is to be written again is as good.
  const bool pending = std::ranges::any_of(
      table_blocks_, [this](const auto& table) { return table->block.sequence == table_begin_; });
  if (!pending) write_table(false);
}

void Recorder::keep_house() {
  reactor_.set_timer(housekeeping_, reactor_.now() + kHousekeeping);
  const std::int64_t before = wall_offset_ns_;
  read_clocks();
  const bool stepped = std::abs(wall_offset_ns_ - before) > kClockStep;
  // A segment that is yet to begin tells both clocks first of all.
  if (stepped && !segment_over_) static_cast<void>(append(stamp(Kind::clock), {}));
  static_cast<void>(write_lost());
  end_old_segment();
  writer_.look_after_segments();
  look_at_pace();
  // After a second of rest the last commit is covered too; nothing follows from a checkpoint's own.
  const bool resting = !segment_over_ && (current_ == nullptr || current_->builder.empty()) &&
                       sequence_ != checkpoint_;
  if (resting && writer_.mark_is_news() && reactor_.now() - last_submit_ >= kHousekeeping &&
      options_.segments.durability != Durability::none && append(stamp(Kind::checkpoint), {})) {
    flush();
    checkpoint_ = sequence_;
  }
  count_writer();
}

// Of a segment that is refused its owner knows, and until there is one nobody catches up.
void Recorder::look_at_pace() {
  if (writer_.refused() != 0) return;
  const std::uint64_t dropped =
      counters_.dropped_bytes[static_cast<std::size_t>(GapReason::buffers_full)];
  const bool waits = !gates_.empty() || !waiting_.empty();
  const bool held_up = std::exchange(held_up_, waits) && waits;
  const bool drops = std::exchange(dropped_before_, dropped) != dropped;
  const bool behind = held_up || drops;
  if (std::exchange(behind_, behind) || behind) tell(behind ? Event::behind : Event::caught_up, {});
}

// Whether anything more comes or not; the next segment begins with what does.
void Recorder::end_old_segment() {
  if (planned_bytes_ == 0 || reactor_.now() - segment_began_ < options_.segment_time) return;
  flush();
  // An empty one: it was not taken for the segment to come.
  if (current_ != nullptr) free_.push_back(std::exchange(current_, nullptr));
  planned_bytes_ = 0;
  segment_over_ = true;
  writer_.end_segment_when_durable();
}

bool Recorder::write_lost() {
  if (lost_connections_ > 0 && !append(stamp(Kind::lost), encode_lost(lost_connections_))) {
    return false;
  }
  lost_connections_ = 0;
  return true;
}

void Recorder::read_clocks() {
  using std::chrono::nanoseconds;
  const nanoseconds wall = std::chrono::system_clock::now().time_since_epoch();
  wall_offset_ns_ = (wall - nanoseconds(Clock::now().time_since_epoch())).count();
}

void Recorder::count_writer() {
  const SegmentWriter::Counts counts = writer_.counts();
  set(counters_.segments, counts.segments);
  set(counters_.disk_failures, counts.failures);
  set(counters_.syncs, counts.frames.syncs);
  set(counters_.sync_ns, counts.frames.sync_time.count());
  set(counters_.longest_sync_ns, counts.frames.longest_sync.count());
}

void Recorder::segment_refused(const Error& error) {
  add(counters_.segments_refused, 1);
  tell(Event::segment_refused, error);
}

void Recorder::seal_failed(const Error& error) {
  add(counters_.seal_failures, 1);
  tell(Event::seal_failed, error);
}

void Recorder::close(std::function<void()> done) {
  on_closed_ = std::move(done);
  soon();
}

void Recorder::closed() {
  count_writer();
  for (Chore* chore : {&soon_, &flush_, &housekeeping_}) reactor_.cancel_timer(*chore);
  // Not from within the writer, which may be destroyed with this.
  reactor_.post(std::exchange(on_closed_, nullptr));
}

}  // namespace sluice::capture
