#include "iolib/capture/recorder.h"

#include <fcntl.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <utility>

#include "iolib/pipe/splice.h"

namespace sluice::capture {
namespace {

// How often housekeeping runs. It records a step of the wall clock of more than kClockStep.
constexpr Duration kHousekeeping = std::chrono::seconds(1);
constexpr std::chrono::milliseconds kClockStep{1};

std::size_t spill_count(const RecorderOptions& options) {
  if (options.when_full != WhenFull::block) return 0;
  return options.buffer_bytes / Recorder::kSpillShare / Reactor::kReceiveBytes;
}

std::uint64_t blocks_bytes(const RecorderOptions& options) {
  return options.buffer_bytes - spill_count(options) * Reactor::kReceiveBytes;
}

}  // namespace

Result<std::unique_ptr<Recorder>> Recorder::create(Reactor& reactor, Disk& disk, Store& store,
                                                   const RecorderOptions& options) {
  std::unique_ptr<Recorder> recorder(new Recorder(reactor, disk, store, options));
  recorder->null_ = OwnedFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (!recorder->null_) return errno_error("open /dev/null");
  // The last step that can fail: from here on, only close() releases the blocks.
  const Result<> allocated = recorder->records_.allocate(blocks_bytes(options));
  if (allocated.has_error()) return allocated.error();
  reactor.set_timer(*recorder, reactor.now() + kHousekeeping);
  return recorder;
}

Recorder::Recorder(Reactor& reactor, Disk& disk, Store& store, const RecorderOptions& options)
    : reactor_(reactor),
      options_(options),
      records_(reactor, disk, store, options.segments, options.flush_interval, counters_, *this),
      free_spills_(spill_count(options)) {}

Recorder::~Recorder() { reactor_.cancel_timer(*this); }

// --- Connections ---

Recording& Recorder::open(std::uint64_t connection, OpenInfo info,
                          const RecordingOptions& options) {
  info.began_monotonic_ns = header(Kind::open).monotonic_ns;
  info.began_wall_ns = header(Kind::open).wall_ns;
  std::unique_ptr<Recording>& opened = recordings_[connection];
  assert(!opened);
  opened = std::make_unique<Recording>(*this, connection, std::move(info), options);
  opened->touch();
  return *opened;
}

void Recorder::remove_if_finished(Recording& recording) {
  if (!recording.finished()) return;
  for (SideTap& tap : recording.taps_) release_spill(tap);
  recordings_.erase(recording.connection_);
}

// The recording has something that waits for room.
void Recorder::add_pending(Recording& recording) {
  if (recording.is_pending()) return;
  if (recording.closed_ && recording.gates_ == 0 && pending_.size() >= options_.most_pending) {
    // The caller sees that nothing is pending, and removes the recording.
    ++lost_connections_;
    counters_.lost_connections.add(1);
    return;
  }
  pending_.push_back(recording);
}

void Recorder::wait_for_room(SideTap& tap) {
  if (!tap.is_linked()) waiting_.push_back(tap);
}

// Reserves room outside the blocks for one receive of this side. Returns false if no such room is
// free.
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
  // One gate per commit: it causes one wake-up and one send.
  if (!gates_.empty() && gates_.back().tap == &tap && gates_.back().sequence == sequence) {
    gates_.back().offset = offset;
    return;
  }
  ++tap.recording_.gates_;
  gates_.push_back({&tap, sequence, offset});
  soon();
}

// --- Records ---

RecordHeader Recorder::header(Kind kind) const {
  return stamped(kind, reactor_.now(), wall_offset_);
}

std::size_t Recorder::least_allowance() const {
  return std::min(kLeastAllowance, records_.all_bytes() / 4);
}

GapReason Recorder::why_no_room() const {
  const int refused = records_.segments().refused();
  if (refused == 0) return GapReason::buffers_full;
  return refused == ENOSPC || refused == EDQUOT ? GapReason::disk_full : GapReason::disk_failed;
}

void Recorder::discard(Pipe& pipe) {
  while (!pipe.empty()) {
    const Transfer out = splice_out(pipe, null_.get(), pipe.held_bytes());
    if (out.status != Transfer::Status::moved) return;
  }
}

void Recorder::list_connections(const SegmentTable::Add& add) {
  for (const auto& [connection, recording] : recordings_) {
    if (recording->written_ != Recording::Written::open) continue;
    RecordHeader opened = header(Kind::open);
    opened.flags = RecordHeader::kContinued;
    opened.connection = connection;
    add(opened, encode(recording->snapshot(), true));
  }
}

void Recorder::block_free(Block& block) {
  records_.block_free(block);
  if (!pending_.empty() || !waiting_.empty() || on_closed_) soon();
}

// --- Housekeeping ---

void Recorder::deferred() {
  if (options_.segments.durability == Durability::before_forward) records_.flush_commit();
  open_gates();
  use_room();
  count_writer();
  if (on_closed_ && pending_.empty() && write_lost()) {
    records_.flush();
    records_.segments().close();
  }
}

void Recorder::open_gates() {
  while (!gates_.empty() && gates_.front().sequence <= durable_sequence()) {
    const Gate gate = gates_.front();
    gates_.pop_front();
    pace_.moved();
    Recording& recording = gate.tap->recording_;
    --recording.gates_;
    gate.tap->confirmed_ = std::max(gate.tap->confirmed_, gate.offset);
    gate.tap->wake();
    remove_if_finished(recording);
  }
}

// First writes what waits, in order. Then wakes the taps that wait for room.
void Recorder::use_room() {
  while (!pending_.empty() && pending_.front().write_pending()) {
    Recording& recording = pending_.front();
    pending_.pop_front();
    remove_if_finished(recording);
  }
  if (!pending_.empty() || records_.room_bytes() < least_allowance()) return;
  SideTap::List waiting;
  waiting.swap(waiting_);
  pace_.moved();
  while (!waiting.empty()) {
    SideTap& tap = waiting.front();
    waiting.pop_front();
    tap.wake();
  }
}

void Recorder::segment_lost(const Error& error) {
  tell(Event::disk_failed, error);
  if (durable_sequence() < records_.segments().written_sequence()) {
    // Some written blocks are already freed and cannot be written again: no sink may confirm what
    // may be lost.
    for (const auto& [connection, recording] : recordings_) recording->refuse_to_confirm();
  }
  records_.begin_again();
}

void Recorder::expired() {
  reactor_.set_timer(*this, reactor_.now() + kHousekeeping);
  const std::chrono::nanoseconds before = std::exchange(wall_offset_, wall_offset());
  const bool stepped = std::chrono::abs(wall_offset_ - before) > kClockStep;
  // A segment that has not begun yet starts with both clocks anyway.
  if (stepped && !records_.segment_is_over()) {
    static_cast<void>(records_.append(header(Kind::clock), {}));
  }
  static_cast<void>(write_lost());
  records_.end_segment_older_than(options_.segment_time);
  records_.segments().look_after_segments();
  look_at_pace();
  records_.checkpoint_after(kHousekeeping, header(Kind::checkpoint));
  count_writer();
}

// While no segment can be made, the owner knows it already, and the disk cannot catch up.
void Recorder::look_at_pace() {
  if (records_.segments().refused() != 0) return;
  const std::uint64_t dropped =
      counters_.dropped_bytes[static_cast<std::size_t>(GapReason::buffers_full)];
  const std::optional<Event> news = pace_.look(!gates_.empty() || !waiting_.empty(), dropped);
  if (news) tell(*news, {});
}

std::optional<Recorder::Event> Recorder::Pace::look(bool waits, std::uint64_t dropped_bytes) {
  const bool held_up = std::exchange(held_up_, waits) && waits;
  const bool drops = std::exchange(dropped_bytes_, dropped_bytes) != dropped_bytes;
  const bool behind = held_up || drops;
  if (!std::exchange(behind_, behind) && !behind) return std::nullopt;
  return behind ? Event::behind : Event::caught_up;
}

bool Recorder::write_lost() {
  if (lost_connections_ > 0 &&
      !records_.append(header(Kind::lost), encode_lost(lost_connections_))) {
    return false;
  }
  lost_connections_ = 0;
  return true;
}

void Recorder::count_writer() {
  const SegmentWriter::Counts counts = records_.segments().counts();
  counters_.segments.set(counts.segments);
  counters_.disk_failures.set(counts.failures);
  counters_.syncs.set(counts.frames.syncs);
  counters_.sync_ns.set(static_cast<std::uint64_t>(counts.frames.sync_time.count()));
  counters_.longest_sync_ns.set(static_cast<std::uint64_t>(counts.frames.longest_sync.count()));
}

void Recorder::segment_refused(const Error& error) {
  counters_.segments_refused.add(1);
  tell(Event::segment_refused, error);
}

void Recorder::seal_failed(const Error& error) {
  counters_.seal_failures.add(1);
  tell(Event::seal_failed, error);
}

void Recorder::close(std::function<void()> done) {
  on_closed_ = std::move(done);
  soon();
}

void Recorder::closed() {
  count_writer();
  cancel();
  reactor_.cancel_timer(*this);
  records_.stop();
  // Posted, because `done` may destroy this object, and with it the writer that is calling.
  reactor_.post(std::exchange(on_closed_, nullptr));
}

}  // namespace sluice::capture
