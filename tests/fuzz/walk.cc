#include "tests/fuzz/walk.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "tests/support/memory_source.h"

namespace sluice::fuzz {
namespace {

using capture::Event;
using capture::Finding;

enum class Writer { dead, lives, is_followed };

using Bytes = std::span<const std::byte>;

Bytes bytes_of(const std::vector<FuzzedSegment>& chain, const capture::SegmentFile& file) {
  return std::ranges::find(chain, file.name, &FuzzedSegment::name)->bytes;
}

capture::ChainReader reader_of(const std::vector<FuzzedSegment>& chain, Writer writer) {
  capture::ChainReader::Options options;
  options.open = [&chain](capture::SegmentFile& file) -> Result<std::unique_ptr<capture::Source>> {
    return std::unique_ptr<capture::Source>(
        std::make_unique<test::MemorySource>(bytes_of(chain, file)));
  };
  options.live = writer == Writer::is_followed;
  capture::Chain listed{"run1", 0, {}, writer != Writer::dead};
  for (const FuzzedSegment& each : chain) {
    listed.segments.push_back({to_string(each.name), each.name, each.bytes.size()});
  }
  return {std::move(listed), options};
}

// A reader's events for one segment go from its begin to its end, once.
class SegmentWalk {
 public:
  explicit SegmentWalk(Bytes bytes) : bytes_(bytes) {}

  void take(const Event& event) {
    if (event.type == Event::Type::finding) return take(event.finding);
    must(event.position >= reached_);
    reached_ = event.position + capture::kRecordHeaderBytes + event.payload.size();
    must(reached_ <= bytes_.size());
    must(event.payload.empty() ||
         event.payload.data() ==
             &bytes_[static_cast<std::size_t>(event.position) + capture::kRecordHeaderBytes]);
    if (event.header.is(capture::Kind::data)) read_bytes_ += event.fresh().size();
    must(read_bytes_ <= bytes_.size());
  }

 private:
  void take(const Finding& finding) {
    if (finding.severity == Finding::Severity::lost) return;
    must(finding.offset <= bytes_.size());
    // A finding behind a footer covers everything there, which is then read nevertheless.
    if (finding.what == "data after the footer" || finding.bytes == 0) return;
    must(finding.offset >= reached_);
    reached_ = finding.offset + finding.bytes;
  }

  Bytes bytes_;
  std::uint64_t reached_ = 0;
  std::uint64_t read_bytes_ = 0;
};

void walk_with(const std::vector<FuzzedSegment>& chain, Writer writer) {
  capture::ChainReader reader = reader_of(chain, writer);
  // Often enough for the reader to look behind a place that it waits for.
  int waits_left = writer == Writer::is_followed ? 40 : 0;
  // A record takes up 48 bytes, and every 8 bytes can be bad.
  std::size_t events_left = 0;
  for (const FuzzedSegment& each : chain) events_left += each.bytes.size() / 4 + 16;
  std::optional<SegmentWalk> segment;
  while (true) {
    const Result<Event> event = reader.next();
    if (!event || event->type == Event::Type::end) return;
    if (event->type == Event::Type::wait) {
      must(writer == Writer::is_followed);
      if (waits_left-- == 0) return;
      continue;
    }
    must(events_left-- > 0);
    if (event->type == Event::Type::segment) segment.emplace(bytes_of(chain, *event->segment));
    if (event->type == Event::Type::record || event->type == Event::Type::finding) {
      segment->take(*event);
    }
  }
}

}  // namespace

void walk(const std::vector<FuzzedSegment>& chain) {
  for (const Writer writer : {Writer::dead, Writer::lives, Writer::is_followed}) {
    walk_with(chain, writer);
  }
}

std::optional<Records> records_of(const std::vector<FuzzedSegment>& chain) {
  Records records;
  if (chain.empty()) return records;
  capture::ChainReader reader = reader_of(chain, Writer::dead);
  while (true) {
    const Result<Event> event = reader.next();
    if (!event) return std::nullopt;
    if (event->type == Event::Type::end) return records;
    if (event->type != Event::Type::record) continue;
    records.emplace_back(event->segment->name.number, event->position, event->header.payload_crc);
  }
}

}  // namespace sluice::fuzz
