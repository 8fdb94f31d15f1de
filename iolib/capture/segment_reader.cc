#include "iolib/capture/segment_reader.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <thread>
#include <utility>

#include "iolib/base/crc32c.h"

namespace sluice::capture {
namespace {

using boost::system::in_place_value;
using Step = std::optional<SegmentEvent>;

// Offsets that do not wrap around, and a payload that says what its kind has to say.
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

std::size_t clipped(std::uint64_t size_bytes, const FrameHeader& frame) {
  const std::uint64_t left = size_bytes > frame.offset ? size_bytes - frame.offset : 0;
  return static_cast<std::size_t>(std::min<std::uint64_t>(left, frame.frame_bytes));
}

}  // namespace

SegmentReader::SegmentReader(Source& source, SegmentState state, Options options)
    : source_(source), state_(state), options_(options) {}

Result<SegmentEvent> SegmentReader::next() {
  if (unfinished_) return SegmentEvent();
  if (std::exchange(size_is_old_, false)) {
    if (const Result<> size = refresh_size(); !size) return size.error();
  }
  while (true) {
    Result<Step> step = !frame_                    ? begin_frame()
                        : at_ < frame_->used_bytes ? read_record()
                                                   : finish_frame();
    if (!step) return step.error();
    if (!*step) continue;
    if ((*step)->type == SegmentEvent::Type::wait) {
      // What was read is old by the next time.
      view_ = {};
      size_is_old_ = true;
    }
    return **step;
  }
}

void SegmentReader::settle(SegmentState state) {
  state_ = state;
  options_.live = false;
  options_.being_written = false;
  view_ = {};
  size_is_old_ = true;
}

// --- Reading ---

Result<> SegmentReader::refresh_size() {
  const Result<std::uint64_t> size = source_.size_bytes();
  if (!size) return size.error();
  size_bytes_ = *size;
  return {};
}

Result<std::span<const std::byte>> SegmentReader::bytes_at(std::uint64_t offset,
                                                           std::size_t bytes) {
  const bool inside = offset >= view_offset_ && offset - view_offset_ <= view_.size() &&
                      view_.size() - (offset - view_offset_) >= bytes;
  if (!inside) {
    const Result<std::span<const std::byte>> read = source_.read(offset, kMaxFrameBytes);
    if (!read) return read.error();
    view_ = *read;
    view_offset_ = offset;
  }
  const auto rest = view_.subspan(static_cast<std::size_t>(offset - view_offset_));
  return rest.first(std::min(bytes, rest.size()));
}

// The header of a good frame at `place`: with exactly that number, or behind a bad range, which
// holds at least one frame, with a later one.
Result<std::optional<FrameHeader>> SegmentReader::header_at(const Place& place, bool exact) {
  const Result<std::span<const std::byte>> bytes = bytes_at(place.offset, kFrameHeaderBytes);
  if (!bytes) return bytes.error();
  return header_in(*bytes, place, exact);
}

Result<std::optional<FrameHeader>> SegmentReader::header_in(std::span<const std::byte> bytes,
                                                            const Place& place, bool exact) {
  FrameFault fault{};
  std::optional<FrameHeader> header = decode_frame_header(bytes, &fault);
  if (!header && fault == FrameFault::unsupported && exact) {
    return Error{0, "written in a later version of the format"};
  }
  if (!header || header->offset != place.offset || (segment_ && header->segment != *segment_) ||
      (exact ? header->number != place.number : header->number <= place.number)) {
    return std::optional<FrameHeader>();
  }
  segment_ = header->segment;
  return header;
}

// What the frames that have come since say of those before. Each header is read once, alone.
Result<> SegmentReader::look_ahead() {
  if (ahead_.offset < next_.offset) ahead_ = next_;
  view_ = {};
  if (const Result<> size = refresh_size(); !size) return size.error();
  while (ahead_.offset < size_bytes_) {
    const Result<std::span<const std::byte>> bytes = source_.read(ahead_.offset, kFrameHeaderBytes);
    if (!bytes) return bytes.error();
    const Result<std::optional<FrameHeader>> header = header_in(*bytes, ahead_, true);
    if (!header) return header.error();
    if (!*header) break;
    durable_frames_ = std::max(durable_frames_, (*header)->durable_frames);
    ahead_ = {ahead_.offset + (*header)->frame_bytes, (*header)->number + 1};
  }
  return {};
}

// From a frame that is bad, the next good one.
Result<SegmentReader::Found> SegmentReader::look_on(const Place& from) {
  Found found;
  for (std::uint64_t at = from.offset; at < size_bytes_; at += kGridBytes) {
    if (at != from.offset) {
      const Result<std::optional<FrameHeader>> header = header_at({at, from.number}, false);
      if (!header) return header.error();
      found.header = *header;
      if (found.header) break;
    }
    const Result<std::span<const std::byte>> block = bytes_at(at, kGridBytes);
    if (!block) return block.error();
    if (block->empty()) break;
    if (!is_zero(*block)) found.nonzero_end = at + block->size();
  }
  return found;
}

// Whether something is damage depends on what the headers behind it say: they are looked at when
// the first bad range is met, and never in a segment that has none.
Result<> SegmentReader::survey() {
  surveyed_ = true;
  Place place = frame_ ? Place{frame_->offset, frame_->number} : next_;
  std::optional<FrameHeader> last;
  while (place.offset < size_bytes_) {
    Result<std::optional<FrameHeader>> header = header_at(place, true);
    if (!header) return header.error();
    if (!*header) {
      const Result<Found> found = look_on(place);
      if (!found) return found.error();
      if (!found->header) break;
      *header = found->header;
    }
    last = *header;
    durable_frames_ = std::max(durable_frames_, last->durable_frames);
    place = {last->offset + last->frame_bytes, last->number + 1};
  }
  if (!last) return {};
  const Result<bool> footer = ends_with_footer(*last);
  if (!footer) return footer.error();
  footer_ahead_ = *footer;
  return {};
}

Result<bool> SegmentReader::ends_with_footer(const FrameHeader& header) {
  const Result<std::span<const std::byte>> frame =
      bytes_at(header.offset, clipped(size_bytes_, header));
  if (!frame) return frame.error();
  const std::size_t end = std::min<std::size_t>(header.used_bytes, frame->size());
  const std::uint32_t seed = record_seed(header.segment, header.offset);
  for (std::size_t at = kFrameHeaderBytes; at < end;) {
    const std::span<const std::byte> rest = frame->subspan(at, end - at);
    const std::optional<RecordHeader> record = decode_record_header(rest, seed);
    if (record && record->is(Kind::footer) &&
        crc32c(rest.subspan(kRecordHeaderBytes, record->payload_bytes)) == record->payload_crc) {
      return {in_place_value, true};
    }
    at += record ? record_bytes(record->payload_bytes) : kRecordAlignment;
  }
  return {in_place_value, false};
}

// --- Walking ---

Result<Step> SegmentReader::begin_frame() {
  if (next_.offset >= size_bytes_) {
    if (const Result<> size = refresh_size(); !size) return size.error();
    if (next_.offset >= size_bytes_) return Step(finish_segment());
  }
  const Result<std::optional<FrameHeader>> header = header_at(next_, true);
  if (!header) return header.error();
  if (!*header) return skip_bad_frames();
  if (std::optional<SegmentEvent> wrong = behind_footer(next_.offset)) return wrong;
  frame_ = *header;
  at_ = kFrameHeaderBytes;
  seed_ = record_seed(frame_->segment, frame_->offset);
  durable_frames_ = std::max(durable_frames_, frame_->durable_frames);
  next_ = {frame_->offset + frame_->frame_bytes, frame_->number + 1};
  ++frames_;
  count_as_progress();
  return Step();
}

Result<Step> SegmentReader::skip_bad_frames() {
  if (waits() && !looks_behind(next_.offset)) return Step(stop_here());
  if (const Result<> size = refresh_size(); !size) return size.error();
  const Result<Found> found = look_on(next_);
  if (!found) return found.error();
  if (found->header) {
    const Place after{found->header->offset, found->header->number};
    Result<Step> event = bad(next_.offset, after.offset - next_.offset, "no good frame");
    if (event && *event && (*event)->type == SegmentEvent::Type::bad) next_ = after;
    return event;
  }
  // A segment that was left behind may have zeros at its end; so may one that a footer has just
  // been written to, or that could not be cut then.
  const bool may_have_zeros = !footer_passed_ || state_ != SegmentState::sealed;
  const std::uint64_t end = may_have_zeros ? found->nonzero_end : size_bytes_;
  if (end <= next_.offset) {
    if (being_written() && !footer_passed_) return Step(stop_here());
    next_.offset = size_bytes_;
    return Step();
  }
  Result<Step> event = bad(next_.offset, end - next_.offset,
                           footer_passed_ ? "something behind the footer" : "no good frame");
  if (event && *event && (*event)->type == SegmentEvent::Type::bad) next_.offset = size_bytes_;
  return event;
}

Result<Step> SegmentReader::read_record() {
  const Result<std::span<const std::byte>> frame =
      bytes_at(frame_->offset, clipped(size_bytes_, *frame_));
  if (!frame) return frame.error();
  const std::size_t limit = std::min<std::size_t>(frame_->used_bytes, frame->size());
  const auto rest_from = [&](std::size_t at) {
    return at < limit ? frame->subspan(at, limit - at) : std::span<const std::byte>();
  };
  const auto bad_until = [&](std::size_t end, std::string_view what) {
    Result<Step> event = bad(frame_->offset + at_, end - at_, what);
    if (event && *event && (*event)->type == SegmentEvent::Type::bad) {
      at_ = end;
      bad_padding_ = 0;
    }
    return event;
  };
  if (bad_padding_ > 0) return bad_until(at_ + bad_padding_, "not zero behind a payload");
  const std::span<const std::byte> rest = rest_from(at_);
  const std::optional<RecordHeader> header = decode_record_header(rest, seed_);
  if (!header) {
    std::size_t end = at_ + kRecordAlignment;
    while (end < limit && !decode_record_header(rest_from(end), seed_)) end += kRecordAlignment;
    return bad_until(end < limit ? end : frame_->used_bytes, "bad record");
  }
  if (holds_back() && !header->is(Kind::segment)) {
    if (const Result<> looked = look_ahead(); !looked) return looked.error();
    return holds_back() ? Step(stop_here()) : Step();
  }
  const std::size_t whole = record_bytes(header->payload_bytes);
  const auto payload = rest.subspan(kRecordHeaderBytes, header->payload_bytes);
  if (crc32c(payload) != header->payload_crc) return bad_until(at_ + whole, "bad payload");
  if (!is_understood(*header, payload)) return bad_until(at_ + whole, "senseless record");
  if (std::optional<SegmentEvent> wrong = behind_footer(frame_->offset + at_)) return wrong;
  footer_passed_ |= header->is(Kind::footer);
  if (header->is(Kind::segment)) written_suffices_ = decode_segment(payload)->durability == "none";
  count_as_progress();
  SegmentEvent event{.type = SegmentEvent::Type::record,
                     .position = frame_->offset + at_,
                     .header = *header,
                     .payload = payload,
                     .bad = {}};
  const std::size_t payload_end = kRecordHeaderBytes + payload.size();
  if (!is_zero(rest.subspan(payload_end, whole - payload_end))) {
    bad_padding_ = whole - payload_end;
    at_ += payload_end;
  } else {
    at_ += whole;
  }
  return Step(event);
}

Result<Step> SegmentReader::finish_frame() {
  const Result<std::span<const std::byte>> frame =
      bytes_at(frame_->offset, clipped(size_bytes_, *frame_));
  if (!frame) return frame.error();
  Result<Step> event = Step();
  // What was cut off within the records has been told.
  if (frame->size() >= frame_->used_bytes && frame->size() < frame_->frame_bytes) {
    event = bad(frame_->offset + frame->size(), frame_->frame_bytes - frame->size(),
                "the file ends within a frame");
    if (!event || !*event) return event;
  } else if (frame->size() == frame_->frame_bytes && !is_zero(frame->subspan(frame_->used_bytes))) {
    event = bad(frame_->offset + frame_->used_bytes, frame_->frame_bytes - frame_->used_bytes,
                "not zero behind the records");
    if (!event || !*event) return event;
  }
  if (!*event || (*event)->type == SegmentEvent::Type::bad) frame_.reset();
  return event;
}

SegmentEvent SegmentReader::finish_segment() {
  if (waits() || (being_written() && !footer_passed_)) return stop_here();
  if (end_told_ || state_ != SegmentState::sealed || footer_passed_) return {};
  end_told_ = true;
  return {.type = SegmentEvent::Type::bad,
          .bad = {.offset = size_bytes_, .what = "no footer at the end"}};
}

Result<Step> SegmentReader::bad(std::uint64_t offset, std::uint64_t bytes, std::string_view what) {
  if (frame_ && waits() && !looks_behind(offset)) return Step(stop_here());
  // Who waits has read anew each time.
  if (being_written() && !waits() && looked_at_ != offset) {
    looked_at_ = offset;
    return read_again();
  }
  if (state_ == SegmentState::open && !being_written() && rereads_left_ > 0) {
    --rereads_left_;
    rereading_ = true;
    if (options_.reread_delay.count() > 0) std::this_thread::sleep_for(options_.reread_delay);
    return read_again();
  }
  const std::uint32_t number = frame_ ? frame_->number : next_.number;
  // Behind a footer the mark tells nothing.
  const bool mark_is_old = being_written() && !footer_passed_ && durable_frames_ <= number;
  const bool surveys = !surveyed_ || mark_is_old;
  if (surveys) {
    if (const Result<> done = survey(); !done) return done.error();
  }
  // In an unfinished segment a footer may have come to the disk before what it ends.
  const bool sealed = footer_ahead_ && state_ == SegmentState::sealed;
  const bool is_damage = footer_passed_ || sealed || durable_frames_ > number;
  // The mark is younger than the look at the place: what was a hole then may have been written.
  if (is_damage && surveys && state_ == SegmentState::open) return read_again();
  if (!is_damage && being_written()) return Step(stop_here());
  return Step(
      SegmentEvent{.type = SegmentEvent::Type::bad,
                   .bad = {.offset = offset, .bytes = bytes, .damage = is_damage, .what = what}});
}

Result<Step> SegmentReader::read_again() {
  view_ = {};
  if (const Result<> size = refresh_size(); !size) return size.error();
  return Step();
}

// A file that changes is read again as often as it does; one that does not, a few times in all.
void SegmentReader::count_as_progress() {
  if (std::exchange(rereading_, false)) rereads_left_ = kMostRereads;
}

SegmentEvent SegmentReader::stop_here() {
  if (waits()) return {.type = SegmentEvent::Type::wait};
  unfinished_ = true;
  return {};
}

// Behind the end of what is written lies mostly nothing, up to 256 MiB of it: that is looked
// through ever more seldom.
bool SegmentReader::looks_behind(std::uint64_t offset) {
  if (std::exchange(waits_at_, offset) != offset) waits_ = 0;
  constexpr std::uint32_t kFirst = 16;
  return ++waits_ >= kFirst && std::has_single_bit(waits_);
}

std::optional<SegmentEvent> SegmentReader::behind_footer(std::uint64_t offset) {
  if (!footer_passed_ || behind_footer_told_) return std::nullopt;
  behind_footer_told_ = true;
  return SegmentEvent{.type = SegmentEvent::Type::bad,
                      .bad = {.offset = offset,
                              .bytes = size_bytes_ > offset ? size_bytes_ - offset : 0,
                              .damage = true,
                              .what = "something behind the footer"}};
}

}  // namespace sluice::capture
