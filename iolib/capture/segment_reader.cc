#include "iolib/capture/segment_reader.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>
#include <thread>
#include <utility>

#include "iolib/base/crc32c.h"

namespace sluice::capture {
namespace {

// Whether the offsets do not overflow and the payload can be decoded as its kind.
bool is_understood(const RecordHeader& header, std::span<const std::byte> payload) {
  const std::uint64_t room = std::numeric_limits<std::uint64_t>::max() - header.offset;
  switch (static_cast<Kind>(header.kind)) {
    case Kind::segment:
      return decode_segment(payload).has_value();
    case Kind::open:
      return decode_open(payload).has_value();
    case Kind::data:
      return !payload.empty() && payload.size() <= room;
    case Kind::gap: {
      const std::optional<GapInfo> gap = decode_gap(payload);
      return gap && gap->bytes <= room;
    }
    case Kind::close:
      return decode_close(payload).has_value();
    case Kind::footer:
      return decode_footer(payload).has_value();
    case Kind::lost:
      return decode_lost(payload).has_value();
    default:
      return true;
  }
}

}  // namespace

SegmentReader::SegmentReader(Source& source, SegmentState state, Options options)
    : view_(source), reread_delay_(options.reread_delay), state_(state_of(state, options)) {}

SegmentReader::State SegmentReader::state_of(SegmentState state, const Options& options) {
  if (state == SegmentState::sealed) return State::sealed;
  if (state == SegmentState::suspect) return State::suspect;
  if (!options.being_written) return State::left_open;
  return options.live ? State::followed : State::being_written;
}

Result<SegmentEvent> SegmentReader::next() {
  while (!view_.error()) {
    const Step event = walk_ == Walk::unfinished ? SegmentEvent() : step();
    if (!event || view_.error()) continue;
    // The cached bytes will be outdated at the next call.
    if (event->type == SegmentEvent::Type::wait) view_.forget();
    return *event;
  }
  return *view_.error();
}

void SegmentReader::left_as(SegmentState state) {
  state_ = state_of(state, {});
  survey_ = Survey::none;  // the footer may have been written since
  tries_ = {};
  view_.forget();
}

// --- Reading ---

// The header of a good frame at `place`, or nothing. `exact`: the frame must have the place's
// number. Otherwise it follows a bad range, which holds at least one frame, and must have a later
// number.
std::optional<FrameHeader> SegmentReader::header_at(const Place& place, bool exact,
                                                    std::size_t read_bytes) {
  bool unsupported = false;
  std::optional<FrameHeader> header =
      decode_frame_header(view_.at(place.offset, kFrameHeaderBytes, read_bytes), &unsupported);
  if (unsupported && exact) {
    view_.fail({0, "written in a later version of the format"});
  }
  if (!header || header->offset != place.offset || (segment_ && header->segment != *segment_) ||
      (exact ? header->number != place.number : header->number <= place.number)) {
    return std::nullopt;
  }
  segment_ = header->segment;
  return header;
}

// Looks for later frames that confirm earlier ones. Reads each header once, without its frame.
void SegmentReader::look_ahead() {
  if (ahead_.offset < next_.offset) ahead_ = next_;
  view_.forget();
  while (const auto header = header_at(ahead_, true, kFrameHeaderBytes)) {
    durable_frames_ = std::max(durable_frames_, header->durable_frames);
    ahead_ = {ahead_.offset + header->frame_bytes, header->number + 1};
  }
}

// Finds the next good frame after a bad one.
SegmentReader::Found SegmentReader::look_on(const Place& from) {
  Found found;
  for (std::uint64_t at = from.offset; at < view_.size_bytes(); at += kGridBytes) {
    if (at != from.offset) found.header = header_at({at, from.number}, false);
    if (found.header) break;
    const std::span<const std::byte> block = view_.at(at, kGridBytes);
    if (block.empty()) break;
    if (!is_zero(block)) found.nonzero_end = at + block.size();
  }
  return found;
}

// Reads all headers that follow, because they decide whether a bad range is damage. Called at a bad
// range; never in a segment without one.
void SegmentReader::survey() {
  if (survey_ == Survey::none) survey_ = Survey::no_footer;
  Place place = frame_ ? Place{frame_->header.offset, frame_->header.number} : next_;
  std::optional<FrameHeader> last;
  while (true) {
    std::optional<FrameHeader> header = header_at(place, true);
    if (!header) header = look_on(place).header;
    if (!header) break;
    last = header;
    durable_frames_ = std::max(durable_frames_, header->durable_frames);
    place = {header->offset + header->frame_bytes, header->number + 1};
  }
  if (last) survey_ = has_footer(*last) ? Survey::footer : Survey::no_footer;
}

bool SegmentReader::has_footer(const FrameHeader& header) {
  const std::span<const std::byte> frame = view_.at(header.offset, header.used_bytes);
  const std::uint32_t seed = record_seed(header.segment, header.offset);
  for (std::size_t at = kFrameHeaderBytes; at < frame.size();) {
    const std::span<const std::byte> rest = frame.subspan(at);
    const std::optional<RecordHeader> record = decode_record_header(rest, seed);
    if (record && record->is(Kind::footer) &&
        crc32c(rest.subspan(kRecordHeaderBytes, record->payload_bytes)) == record->payload_crc) {
      return true;
    }
    at += record ? record_bytes(record->payload_bytes) : kRecordAlignment;
  }
  return false;
}

// --- Walking ---

SegmentReader::Step SegmentReader::step() {
  if (!frame_) return begin_frame();
  return frame_->at < frame_->header.used_bytes ? read_record() : finish_frame();
}

SegmentReader::Step SegmentReader::begin_frame() {
  if (next_.offset >= view_.size_bytes()) {
    view_.forget_size();
    if (next_.offset >= view_.size_bytes()) return finish_segment();
  }
  const std::optional<FrameHeader> header = header_at(next_, true);
  if (!header) return skip_bad_frames();
  if (const Step wrong = behind_footer(next_.offset)) return wrong;
  frame_ = {*header, record_seed(header->segment, header->offset)};
  durable_frames_ = std::max(durable_frames_, header->durable_frames);
  next_ = {header->offset + header->frame_bytes, header->number + 1};
  ++frames_;
  tries_.count = 0;
  return std::nullopt;
}

SegmentReader::Step SegmentReader::skip_bad_frames() {
  if (waits() && !looks_behind(next_.offset)) return stop_here();
  view_.forget_size();
  const Found found = look_on(next_);
  if (view_.error()) return std::nullopt;  // the size of the segment is unknown
  const std::uint64_t begin = next_.offset;
  if (found.header) {
    return bad({.offset = begin, .bytes = found.header->offset - begin, .what = "no intact frame"},
               {found.header->offset, found.header->number});
  }
  const Place end{view_.size_bytes(), next_.number};
  // A segment that a crash left may have zeros at its end. So may one whose footer was just
  // written, or that could not be truncated then.
  const bool may_have_zeros = !footer_passed() || state_ != State::sealed;
  const std::uint64_t bad_end = may_have_zeros ? found.nonzero_end : end.offset;
  if (bad_end > begin) {
    return bad({.offset = begin,
                .bytes = bad_end - begin,
                .what = footer_passed() ? "data after the footer" : "no intact frame"},
               end);
  }
  if (being_written() && !footer_passed()) return stop_here();
  next_ = end;
  return std::nullopt;
}

SegmentReader::Step SegmentReader::read_record() {
  const FrameHeader& frame = frame_->header;
  const std::size_t at = frame_->at;
  const std::uint64_t position = frame.offset + at;
  const auto bad_until = [&](std::size_t end, std::string_view what) {
    return bad({.offset = position, .bytes = end - at, .what = what},
               {frame.offset + end, next_.number});
  };
  // Records begin at multiples of kRecordAlignment.
  const std::size_t padding_bytes = -at % kRecordAlignment;
  if (padding_bytes > 0) {
    return bad_until(at + padding_bytes, "padding after a payload is not zero");
  }
  const std::span<const std::byte> records = view_.at(frame.offset, frame.used_bytes);
  const auto record_at = [&](std::size_t place) {
    return decode_record_header(records.subspan(std::min(place, records.size())), frame_->seed);
  };
  const std::optional<RecordHeader> header = record_at(at);
  if (!header) {
    std::size_t end = at + kRecordAlignment;
    while (end < records.size() && !record_at(end)) end += kRecordAlignment;
    return bad_until(end < records.size() ? end : frame.used_bytes, "record header invalid");
  }
  if (holds_back() && !header->is(Kind::segment)) {
    look_ahead();
    return holds_back() ? Step(stop_here()) : std::nullopt;
  }
  const std::size_t end = at + record_bytes(header->payload_bytes);
  const std::size_t payload_end = at + kRecordHeaderBytes + header->payload_bytes;
  const auto payload = records.subspan(at + kRecordHeaderBytes, header->payload_bytes);
  if (crc32c(payload) != header->payload_crc) {
    return bad_until(end, "payload does not match its checksum");
  }
  if (!is_understood(*header, payload)) return bad_until(end, "record with invalid contents");
  if (const Step wrong = behind_footer(position)) return wrong;
  if (header->is(Kind::footer) && !footer_passed()) walk_ = Walk::behind_footer;
  if (header->is(Kind::segment) && waits()) {
    const bool level_none = decode_segment(payload)->durability == "none";
    state_ = level_none ? State::followed_level_none : State::followed;
  }
  tries_.count = 0;
  const bool is_padded = is_zero(records.subspan(payload_end, end - payload_end));
  frame_->at = is_padded ? end : payload_end;
  return SegmentEvent{.type = SegmentEvent::Type::record,
                      .position = position,
                      .header = *header,
                      .payload = payload};
}

SegmentReader::Step SegmentReader::finish_frame() {
  const FrameHeader& header = frame_->header;
  const std::span<const std::byte> frame = view_.at(header.offset, header.frame_bytes);
  const auto bad_from = [&](std::size_t begin, std::string_view what) {
    return bad({.offset = header.offset + begin, .bytes = header.frame_bytes - begin, .what = what},
               next_);
  };
  if (frame.size() == header.frame_bytes && !is_zero(frame.subspan(header.used_bytes))) {
    return bad_from(header.used_bytes, "padding after the records is not zero");
  }
  // A cut within the records has been reported already.
  if (frame.size() >= header.used_bytes && frame.size() < header.frame_bytes) {
    return bad_from(frame.size(), "the file ends within a frame");
  }
  frame_.reset();
  return std::nullopt;
}

SegmentEvent SegmentReader::finish_segment() {
  if (waits() || (being_written() && !footer_passed())) return stop_here();
  if (walk_ != Walk::to_footer || state_ != State::sealed) return {};
  walk_ = Walk::footer_missing;
  return {.type = SegmentEvent::Type::finding,
          .finding = {.severity = Finding::Severity::torn,
                      .offset = view_.size_bytes(),
                      .what = "no footer at the end"}};
}

SegmentReader::Step SegmentReader::bad(Finding range, const Place& after) {
  if (frame_ && waits() && !looks_behind(range.offset)) return stop_here();
  // A reader that waits has already read again each time.
  if (state_ == State::being_written && try_at(range.offset) == 1) return read_again();
  // A file that changes is read again at each change; one that does not, at most kMostRereads
  // times.
  if (state_ == State::left_open && tries_.count < kMostRereads) {
    ++tries_.count;
    if (reread_delay_.count() > 0) std::this_thread::sleep_for(reread_delay_);
    return read_again();
  }
  const std::uint32_t number = frame_ ? frame_->header.number : next_.number;
  // After a footer, the durable mark says nothing.
  const bool mark_is_old = being_written() && !footer_passed() && durable_frames_ <= number;
  const bool surveys = survey_ == Survey::none || mark_is_old;
  if (surveys) survey();
  // In a segment that is not sealed, a footer may reach the disk before the frames that it follows.
  const bool sealed = survey_ == Survey::footer && state_ == State::sealed;
  const bool is_damage = footer_passed() || sealed || durable_frames_ > number;
  // The mark was read after the place: what was a hole then may have been written since.
  if (is_damage && surveys && state_ >= State::left_open) return read_again();
  if (!is_damage && being_written()) return stop_here();
  range.severity = is_damage ? Finding::Severity::damage : Finding::Severity::torn;
  assert(range.bytes > 0 && after.offset >= range.offset + range.bytes);
  if (frame_ && after.offset < next_.offset) {
    frame_->at = static_cast<std::size_t>(after.offset - frame_->header.offset);
  } else {
    next_ = after;
    frame_.reset();
  }
  return SegmentEvent{.type = SegmentEvent::Type::finding, .finding = range};
}

SegmentReader::Step SegmentReader::read_again() {
  view_.forget();
  return std::nullopt;
}

SegmentEvent SegmentReader::stop_here() {
  assert(being_written());
  if (waits()) return {.type = SegmentEvent::Type::wait};
  assert(!footer_passed());
  walk_ = Walk::unfinished;
  return {};
}

std::uint32_t SegmentReader::try_at(std::uint64_t offset) {
  if (std::exchange(tries_.offset, offset) != offset) tries_.count = 0;
  return ++tries_.count;
}

// Whether to look at what follows a place that the reader waits for. Mostly nothing follows, but up
// to 256 MiB must be searched: it is done less and less often.
bool SegmentReader::looks_behind(std::uint64_t offset) {
  constexpr std::uint32_t kFirst = 16;
  const std::uint32_t tries = try_at(offset);
  return tries >= kFirst && std::has_single_bit(tries);
}

SegmentReader::Step SegmentReader::behind_footer(std::uint64_t offset) {
  if (walk_ != Walk::behind_footer) return std::nullopt;
  walk_ = Walk::more_behind_footer;
  return SegmentEvent{
      .type = SegmentEvent::Type::finding,
      .finding = {.offset = offset,
                  .bytes = view_.size_bytes() - std::min(offset, view_.size_bytes()),
                  .what = "data after the footer"}};
}

}  // namespace sluice::capture
