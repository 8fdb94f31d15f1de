#include "iolib/capture/recording.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "iolib/base/crc32c.h"
#include "iolib/capture/recorder.h"
#include "iolib/pipe/splice.h"

namespace sluice::capture {
namespace {

// Up to this size, extending a checksum is cheaper than combining two.
constexpr std::size_t kShortBytes = 256;
// The most gaps of one side that wait to be recorded. Further ones join the last.
constexpr std::size_t kMostGaps = 16;

}  // namespace

// --- SideTap: bytes ---

SideTap::SideTap(Recording& recording, Side side) : recording_(recording), side_(side) {}

RecordHeader SideTap::header(Kind kind, std::uint64_t offset) const {
  RecordHeader header = recording_.recorder_.header(kind);
  header.flags = static_cast<std::uint8_t>(side_);
  header.connection = recording_.connection_;
  header.offset = offset;
  return header;
}

// Whether bytes without room are dropped, or are not recorded anyway because of the limit.
bool SideTap::unbounded() const {
  return recording_.recorder_.options_.when_full != WhenFull::block ||
         state_.recorded >= recording_.options_.limit_bytes;
}

std::size_t SideTap::allowance() {
  if (unbounded()) return std::numeric_limits<std::size_t>::max();
  Recorder& recorder = recording_.recorder_;
  // What already waits, of the other side too, comes first.
  const std::size_t room = recording_.is_pending() ? 0 : recorder.records_.room_bytes();
  if (room >= recorder.least_allowance()) return room;
  recorder.wait_for_room(*this);
  return 0;
}

// Others may take the room before a receive ends, so the receive needs a reserved spill. If more
// connections are silent than there are spills, the others wait until they are readable.
bool SideTap::allowance_stands() {
  return unbounded() || recording_.recorder_.reserve_spill(*this);
}

// Reduces `bytes` to what may still be recorded of this side. Returns false if that is nothing.
bool SideTap::within_limit(std::uint64_t& bytes) {
  const std::uint64_t limit = recording_.options_.limit_bytes;
  const std::uint64_t recorded = state_.recorded + spill_.size();
  if (recorded >= limit) return false;
  bytes = std::min(bytes, limit - recorded);
  return true;
}

// Records up to `bytes`, which `fill` puts into the space that it is given. Returns how many.
template <class Fill>
std::size_t SideTap::record(std::size_t bytes, Fill fill) {
  RecordWriter& records = recording_.recorder_.records_;
  std::size_t done = 0;
  while (done < bytes) {
    FrameBuilder* frame = records.frame_for_data();
    if (frame == nullptr) break;
    const std::span<std::byte> space = frame->payload_space();
    const std::span<std::byte> part = space.first(std::min(space.size(), bytes - done));
    const std::size_t got = fill(part);
    if (got == 0) break;
    const std::uint32_t crc = frame->commit(header(Kind::data, state_.offset), got);
    state_.crc = got <= kShortBytes ? crc32c(part.first(got), state_.crc)
                                    : crc32c_combine(state_.crc, crc, got);
    state_.offset += got;
    state_.recorded += got;
    done += got;
    records.recorded(got);
  }
  return done;
}

// Records a copy of `bytes`, as far as there is room. Returns how many.
std::size_t SideTap::record(std::span<const std::byte> bytes) {
  return record(bytes.size(), [&](std::span<std::byte> to) {
    std::memcpy(to.data(), bytes.data(), to.size());
    bytes = bytes.subspan(to.size());
    return to.size();
  });
}

void SideTap::append(std::uint64_t offset, std::span<const std::byte> bytes) {
  // What waits is written first; its gate covers only that.
  const bool in_order = recording_.write_pending();
  seen_ = offset + bytes.size();
  std::uint64_t wanted = bytes.size();
  if (!within_limit(wanted)) {
    add_gap(bytes.size(), GapReason::limit);
    recording_.recorder_.release_spill(*this);
    return gate();
  }
  const std::size_t done = in_order ? record(bytes.first(wanted)) : 0;
  bytes = bytes.subspan(done);
  const std::size_t left = wanted - done;
  // After a gap that waits itself, bytes cannot be spilled.
  if (left > 0 && gaps_.empty() && recording_.recorder_.options_.when_full == WhenFull::block) {
    spill_.insert(spill_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(left));
    recording_.touch();
  } else if (left > 0) {
    no_room(left);
  }
  if (bytes.size() > left) add_gap(bytes.size() - left, GapReason::limit);
  if (spill_.empty()) recording_.recorder_.release_spill(*this);
  gate();
}

void SideTap::append(std::uint64_t offset, Pipe& pipe) {
  const bool in_order = recording_.write_pending();
  const std::size_t held = pipe.held_bytes();
  seen_ = offset + held;
  std::uint64_t wanted = held;
  std::size_t done = 0;
  if (within_limit(wanted) && in_order) {
    done = record(wanted, [&](std::span<std::byte> to) {
      return read_out(pipe, to.data(), to.size()).bytes;
    });
  }
  if (done < held && !within_limit(wanted)) {
    add_gap(held - done, GapReason::limit);
  } else if (done < held && recording_.recorder_.options_.when_full == WhenFull::block) {
    std::vector<std::byte> rest(pipe.held_bytes());
    std::size_t got = 0;
    while (got < rest.size()) {
      const Transfer read = read_out(pipe, rest.data() + got, rest.size() - got);
      if (read.status != Transfer::Status::moved) break;
      got += read.bytes;
    }
    append(offset + done, std::span(rest).first(got));
    if (done + got < held) overrun(offset + done + got, held - done - got);
  } else if (done < held) {
    no_room(held - done);
  }
  recording_.recorder_.discard(pipe);
  if (spill_.empty()) recording_.recorder_.release_spill(*this);
  gate();
}

void SideTap::overrun(std::uint64_t offset, std::uint64_t bytes) {
  seen_ = offset + bytes;
  add_gap(bytes, GapReason::not_duplicated);
}

void SideTap::no_room(std::uint64_t bytes) {
  Recorder& recorder = recording_.recorder_;
  add_gap(bytes, recorder.why_no_room());
  if (recorder.options_.when_full == WhenFull::close) recording_.fail();
}

// A gap grows until the next bytes, or the end, are recorded; then it is recorded too. A gap after
// a spill that waits must wait as well.
void SideTap::add_gap(std::uint64_t bytes, GapReason reason) {
  const auto why = static_cast<std::uint32_t>(reason);
  if (!gaps_.empty() && (gaps_.back().reason == why || gaps_.size() == kMostGaps)) {
    gaps_.back().bytes += bytes;
  } else {
    gaps_.push_back({bytes, why});
  }
  lost_bytes_ += bytes;
  recording_.recorder_.counters_.dropped_bytes[why].add(bytes);
  // The limit's gap lasts to the end, so one record is enough.
  if (reason != GapReason::limit) recording_.touch();
}

// --- SideTap: before-forward, and the end ---

bool SideTap::exact() const { return recording_.recorder_.options_.exact; }

std::uint64_t SideTap::watermark() const {
  const bool gated =
      recording_.recorder_.options_.segments.durability == Durability::before_forward;
  return gated ? confirmed_ : kNoLimit;
}

// The bytes just recorded may be forwarded once their block is durable. Bytes that the limit
// excludes wait for those before them.
void SideTap::gate() {
  Recorder& recorder = recording_.recorder_;
  if (recorder.options_.segments.durability != Durability::before_forward) return;
  // Bytes that found no room must not be forwarded either: the connection is about to end.
  if (spill_.empty() && !recording_.failed_)
    recorder.add_gate(*this, recorder.last_sequence(), seen_);
}

// A sink may end only when all of it is durable.
bool SideTap::may_end(std::uint64_t offset) {
  if (!recording_.options_.sink) return true;
  Recorder& recorder = recording_.recorder_;
  end(SideEnd::eof, offset);
  if (lost_bytes_ > 0 || recording_.unconfirmable_) {
    recording_.fail();
    return false;
  }
  if (state_.ended == SideEnd::none) {
    recorder.wait_for_room(*this);
    return false;
  }
  if (end_sequence_ == 0) {
    end_sequence_ = recorder.last_sequence();
    recorder.records_.make_durable(end_sequence_);
    recorder.add_gate(*this, end_sequence_, seen_);
  }
  return recorder.durable_sequence() >= end_sequence_;
}

void SideTap::end(SideEnd how, std::uint64_t offset) {
  if (end_ != SideEnd::none) return;
  // These bytes were received, but no longer duplicated when the target was reset.
  if (offset > seen_) overrun(seen_, offset - seen_);
  end_ = how;
  if (spill_.empty()) recording_.recorder_.release_spill(*this);
  recording_.touch();
}

// --- SideTap: what waits ---

// Writes what waits, in order. Returns false if some of it still waits.
bool SideTap::write_pending() {
  if (!spill_.empty() && !write_spill()) return false;
  const bool ends = end_ != SideEnd::none && state_.ended == SideEnd::none;
  if (!write_gaps(ends || recording_.closed_)) return false;
  if (!ends) return true;
  const Kind kind = end_ == SideEnd::eof ? Kind::eof : Kind::reset;
  if (!recording_.recorder_.records_.append(header(kind, state_.offset), {})) return false;
  state_.ended = end_;
  return true;
}

bool SideTap::write_spill() {
  const std::size_t done = record(spill_);
  spill_.erase(spill_.begin(), spill_.begin() + static_cast<std::ptrdiff_t>(done));
  if (!spill_.empty()) return false;
  spill_.shrink_to_fit();
  recording_.recorder_.release_spill(*this);
  gate();
  return true;
}

bool SideTap::write_gaps(bool at_end) {
  while (!gaps_.empty()) {
    const GapInfo gap = gaps_.front();
    if (gap.reason == static_cast<std::uint32_t>(GapReason::limit) && !at_end) return true;
    if (!recording_.recorder_.records_.append(header(Kind::gap, state_.offset), encode(gap)))
      return false;
    state_.offset += gap.bytes;
    gaps_.erase(gaps_.begin());
  }
  return true;
}

// --- Recording ---

Recording::Recording(Recorder& recorder, std::uint64_t connection, OpenInfo info,
                     const RecordingOptions& options)
    : recorder_(recorder),
      connection_(connection),
      info_(std::move(info)),
      options_(options),
      taps_{SideTap(*this, Side::client), SideTap(*this, Side::upstream)} {
  info_.sides = options.sides;
}

void Recording::close(std::string_view reason) {
  closed_ = true;
  reason_ = reason;
  on_failed_ = nullptr;
  for (SideTap& tap : taps_) tap.wake_ = nullptr;
  touch();
  recorder_.remove_if_finished(*this);
}

// Writes what can be written now; the rest follows when there is room.
void Recording::touch() {
  if (!write_pending()) recorder_.add_pending(*this);
}

bool Recording::write_pending() {
  return (written_ != Written::nothing || write_open()) && taps_[0].write_pending() &&
         taps_[1].write_pending() && (!closed_ || written_ == Written::close || write_close());
}

void Recording::fail() {
  if (std::exchange(failed_, true) || !on_failed_) return;
  recorder_.reactor_.post([&recorder = recorder_, connection = connection_] {
    const auto found = recorder.recordings_.find(connection);
    if (found != recorder.recordings_.end() && found->second->on_failed_) {
      found->second->on_failed_();
    }
  });
}

void Recording::refuse_to_confirm() {
  if (!options_.sink || closed_) return;
  unconfirmable_ = true;
  fail();
}

OpenInfo Recording::snapshot() const {
  OpenInfo info = info_;
  info.so_far = {taps_[0].state_, taps_[1].state_};
  return info;
}

bool Recording::write(Kind kind, std::span<const std::byte> payload) {
  RecordHeader header = recorder_.header(kind);
  header.connection = connection_;
  return recorder_.records_.append(header, payload);
}

bool Recording::write_open() {
  if (!write(Kind::open, encode(info_, false))) return false;
  written_ = Written::open;
  return true;
}

bool Recording::write_close() {
  CloseInfo info;
  for (std::size_t side = 0; side < 2; ++side) {
    const SideTap& tap = taps_[side];
    info.sides[side] = {tap.totals_.received, tap.totals_.forwarded, tap.totals_.acknowledged,
                        tap.state_.recorded,  tap.state_.crc,        tap.state_.ended};
  }
  info.reason = reason_;
  if (!write(Kind::close, encode(info))) return false;
  written_ = Written::close;
  return true;
}

}  // namespace sluice::capture
