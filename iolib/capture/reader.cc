#include "iolib/capture/reader.h"

#include <algorithm>
#include <utility>

#include "iolib/base/text.h"

namespace sluice::capture {

namespace {

using boost::system::in_place_value;

// Whether the payload names this segment. A misdirected write can put the first frame of one
// segment, with its id, into another.
bool names(const SegmentName& name, std::span<const std::byte> payload) {
  const std::optional<SegmentInfo> info = decode_segment(payload);
  return info && info->run == name.run && info->worker == name.worker &&
         info->number == name.number;
}

}  // namespace

ChainReader::ChainReader(Chain chain, Options options)
    : segments_(std::make_move_iterator(chain.segments.begin()),
                std::make_move_iterator(chain.segments.end())),
      options_(std::move(options)),
      tracker_(options_.most_connections),
      being_written_(chain.being_written) {}

Result<Event> ChainReader::next() {
  while (true) {
    if (!queue_.empty()) return next_queued();
    if (!inside_) {
      if (current_ == segments_.size()) {
        // A live reader may remain for every chain that ever was, so free the memory.
        reader_.reset();
        source_.reset();
        return Event{.type = options_.live ? Event::Type::wait : Event::Type::end};
      }
      if (const Result<> begun = begin_segment(); !begun) return begun.error();
      continue;
    }
    const SegmentFile& file = segments_[current_];
    SegmentEvent event;
    if (!given_up_) {
      Result<SegmentEvent> read = reader_->next();
      if (!read) {
        const Error& error = read.error();
        return error.code != 0 ? error : Error{0, one_line(file.path) + ": " + error.context};
      }
      event = *read;
    }
    if (event.type == SegmentEvent::Type::record) return take(event);
    if (event.type == SegmentEvent::Type::finding) {
      // The unconfirmed rest was written again to the next segment. If the reader continued here,
      // it would take what follows for the continuation, and the second writing for a repetition.
      given_up_ = event.finding.severity == Finding::Severity::torn &&
                  file.name.state == SegmentState::suspect && current_ + 1 < segments_.size();
      if (given_up_) continue;
      return finding(event.finding);
    }
    if (event.type == SegmentEvent::Type::wait) {
      return Event{.type = Event::Type::wait, .segment = &file};
    }
    inside_ = false;
    ++current_;
    // Later segments are only prepared, or follow data that is not there yet.
    if (reader_->unfinished()) current_ = segments_.size();
    return Event{.type = Event::Type::segment_end, .segment = &file};
  }
}

void ChainReader::update(const Chain& chain) {
  being_written_ = chain.being_written;
  for (const SegmentFile& file : chain.segments) {
    const auto known = std::ranges::find(segments_, file.name.number,
                                         [](const SegmentFile& each) { return each.name.number; });
    if (known == segments_.end()) {
      if (segments_.empty() || file.name.number > segments_.back().name.number) {
        segments_.push_back(file);
      }
    } else if (known->name.state != file.name.state) {
      *known = file;
      const bool is_current = inside_ && &*known == &segments_[current_];
      if (is_current) reader_->left_as(file.name.state);
    }
  }
  if (!inside_) return;
  // The writer is gone, or the segment was removed while the writer continued in a later one:
  // nothing more will come.
  const SegmentName& name = segments_[current_].name;
  const auto number = [](const SegmentFile& each) { return each.name.number; };
  const bool removed =
      segments_.back().name.number > name.number &&
      std::ranges::find(chain.segments, name.number, number) == chain.segments.end();
  if (!being_written_ || removed) reader_->left_as(name.state);
}

Result<> ChainReader::begin_segment() {
  SegmentFile& file = segments_[current_];
  Result<std::unique_ptr<Source>> source = options_.open(file);
  if (!source) return source.error();
  // The file was deleted since it was listed. At the head of the chain this is normal; elsewhere
  // the next segment reports the hole.
  if (*source == nullptr) {
    ++current_;
    return {};
  }
  const Result<bool> missing = is_missing_before(file);
  if (!missing) return missing.error();
  before_ = file;
  reader_.reset();
  source_ = *std::move(source);
  reader_.emplace(*source_, file.name.state,
                  SegmentReader::Options{being_written_, options_.live, options_.reread_delay});
  tracker_.begin_segment(file.name.state);
  inside_ = true;
  given_up_ = false;
  queue_.push_back({.type = Event::Type::segment, .segment = &file});
  if (*missing) {
    queue_.push_back(finding(
        {.severity = Finding::Severity::damage, .what = "the segment before it is missing"}));
  }
  return {};
}

Result<bool> ChainReader::is_missing_before(const SegmentFile& file) {
  if (!before_ || file.name.number <= before_->name.number + 1) return {in_place_value, false};
  const Result<std::unique_ptr<Source>> still_there = options_.open(*before_);
  if (!still_there) return still_there.error();
  // The retention deletes the oldest segments first. If the previous segment is gone too, the
  // missing ones are not damage.
  if (*still_there == nullptr) tracker_ = StreamTracker(options_.most_connections);
  return {in_place_value, *still_there != nullptr};
}

Result<Event> ChainReader::take(const SegmentEvent& from) {
  Result<StreamEffect> effect = tracker_.take(from.header, from.payload);
  if (!effect) return effect.error();
  if (from.header.is(Kind::segment) && !names(segments_[current_].name, from.payload)) {
    queue_.push_back(finding({.severity = Finding::Severity::damage,
                              .offset = from.position,
                              .what = "a frame that belongs to another segment"}));
  }
  for (const Side side : {Side::client, Side::upstream}) {
    const auto index = static_cast<std::size_t>(side);
    const StreamEffect::Lost& lost = effect->lost[index];
    if (lost.bytes > 0) {
      queue_.push_back(finding({Finding::Severity::lost, from.position, lost.bytes,
                                "bytes are missing without a record", from.header.connection, side,
                                lost.offset}));
    }
    if (effect->mismatch[index]) {
      queue_.push_back(finding({Finding::Severity::damage, from.position, 0,
                                "the connection's bytes do not match their checksum",
                                from.header.connection, side, 0}));
    }
  }
  const Event record{.type = Event::Type::record,
                     .segment = &segments_[current_],
                     .position = from.position,
                     .header = from.header,
                     .payload = from.payload,
                     .effect = *effect};
  if (queue_.empty()) return record;
  queue_.push_back(record);
  return next_queued();
}

Event ChainReader::next_queued() {
  const Event event = queue_.front();
  queue_.pop_front();
  return event;
}

Event ChainReader::finding(Finding what) const {
  return {.type = Event::Type::finding, .segment = &segments_[current_], .finding = what};
}

}  // namespace sluice::capture
