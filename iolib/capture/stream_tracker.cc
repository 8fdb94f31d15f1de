#include "iolib/capture/stream_tracker.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "iolib/base/crc32c.h"

namespace sluice::capture {
namespace {

// From this size on, combining two CRCs is cheaper than computing one.
constexpr std::uint64_t kCombineFromBytes = 8192;

bool is_of_stream(const RecordHeader& header) {
  const auto kind = static_cast<Kind>(header.kind);
  return kind >= Kind::open && kind <= Kind::close;
}

}  // namespace

void NumberSet::insert(std::uint64_t number) {
  if (contains(number)) return;
  auto range = ranges_.emplace(number, number).first;
  const auto next = std::next(range);
  if (next != ranges_.end() && next->first == number + 1) {
    range->second = next->second;
    ranges_.erase(next);
  }
  if (range != ranges_.begin() && std::prev(range)->second + 1 == number) {
    std::prev(range)->second = range->second;
    ranges_.erase(range);
  }
  if (ranges_.size() > most_ranges_) ranges_.erase(ranges_.begin());
}

bool NumberSet::contains(std::uint64_t number) const {
  const auto above = ranges_.upper_bound(number);
  return above != ranges_.begin() && std::prev(above)->second >= number;
}

Result<StreamEffect> StreamTracker::take(const RecordHeader& header,
                                         std::span<const std::byte> payload) {
  StreamEffect effect;
  if (!is_of_stream(header)) return effect;
  if (header.is(Kind::gap) && decode_gap(payload)->bytes == 0) {
    effect.repeated = true;
    return effect;
  }
  const auto found = connections_.find(header.connection);
  if (found == connections_.end() && closed_.contains(header.connection)) {
    effect.repeated = true;
    return effect;
  }
  if (found == connections_.end() && connections_.size() == most_connections_) {
    return Error{0, "more than " + std::to_string(most_connections_) + " connections at a time"};
  }
  Tracked& connection =
      found != connections_.end() ? found->second : connections_[header.connection];
  const auto side = static_cast<std::size_t>(header.side());
  Stream& stream = connection.streams[side];
  const bool has_offset = !header.is(Kind::open) && !header.is(Kind::close);
  if (has_offset && !std::exchange(connection.begun[side], true)) stream.offset = header.offset;
  switch (static_cast<Kind>(header.kind)) {
    case Kind::open:
      open(header, payload, connection, effect);
      break;
    case Kind::data:
    case Kind::gap:
      advance(header, payload, stream, effect);
      break;
    case Kind::close:
      close(header, payload, connection, effect);
      break;
    default:
      end(header, stream, effect);
  }
  return effect;
}

void StreamTracker::begin_segment(SegmentState state) {
  if (state_ == SegmentState::sealed) closed_.clear();
  state_ = state;
}

// Advances to `offset` if it is beyond the offset reached. The bytes between are lost.
void StreamTracker::jump(std::uint64_t offset, Stream& stream, StreamEffect::Lost& lost) {
  if (offset <= stream.offset) return;
  lost = {stream.offset, offset - stream.offset};
  stream.lost_bytes += lost.bytes;
  stream.offset = offset;
}

void StreamTracker::open(const RecordHeader& header, std::span<const std::byte> payload,
                         Tracked& connection, StreamEffect& effect) {
  effect.repeated = std::exchange(connection.introduced, true);
  if (effect.repeated) return;
  const std::optional<OpenInfo> info = decode_open(payload);
  for (std::size_t side = 0; side < 2; ++side) {
    connection.streams[side].recorded_at_all = (info->sides >> side & 1) != 0;
    // Records that were written again after a disk error precede the table of a segment.
    if (std::exchange(connection.begun[side], true)) continue;
    const SideState so_far = header.continued() ? info->so_far[side] : SideState();
    Stream& stream = connection.streams[side];
    stream.offset = so_far.offset;
    stream.recorded = so_far.recorded;
    stream.crc = so_far.crc;
    stream.ended = so_far.ended;
    stream.whole = true;
  }
}

void StreamTracker::advance(const RecordHeader& header, std::span<const std::byte> payload,
                            Stream& stream, StreamEffect& effect) {
  const bool is_data = header.is(Kind::data);
  const std::uint64_t bytes = is_data ? payload.size() : decode_gap(payload)->bytes;
  jump(header.offset, stream, effect.lost[static_cast<std::size_t>(header.side())]);
  effect.skip_bytes = std::min(stream.offset - header.offset, bytes);
  const std::uint64_t fresh = bytes - effect.skip_bytes;
  effect.repeated = fresh == 0 && bytes > 0;
  stream.offset += fresh;
  if (!is_data || fresh == 0) return;
  stream.recorded += fresh;
  const auto bytes_left = payload.last(static_cast<std::size_t>(fresh));
  stream.crc = effect.skip_bytes == 0 && fresh > kCombineFromBytes
                   ? crc32c_combine(stream.crc, header.payload_crc, fresh)
                   : crc32c(bytes_left, stream.crc);
}

void StreamTracker::end(const RecordHeader& header, Stream& stream, StreamEffect& effect) {
  effect.repeated = stream.ended != SideEnd::none;
  if (effect.repeated) return;
  jump(header.offset, stream, effect.lost[static_cast<std::size_t>(header.side())]);
  stream.ended = header.is(Kind::eof) ? SideEnd::eof : SideEnd::reset;
}

void StreamTracker::close(const RecordHeader& header, std::span<const std::byte> payload,
                          Tracked& connection, StreamEffect& effect) {
  const CloseInfo info = *decode_close(payload);
  for (std::size_t side = 0; side < 2; ++side) {
    const SideTotals& totals = info.sides[side];
    Stream& stream = connection.streams[side];
    if (stream.recorded_at_all) jump(totals.received, stream, effect.lost[side]);
    effect.mismatch[side] = stream.whole && stream.lost_bytes == 0 &&
                            (totals.recorded != stream.recorded || totals.crc != stream.crc);
  }
  connections_.erase(header.connection);
  if (state_ != SegmentState::sealed) closed_.insert(header.connection);
}

}  // namespace sluice::capture
