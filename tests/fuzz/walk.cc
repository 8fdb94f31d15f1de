#include "tests/fuzz/walk.h"

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace sluice::fuzz {
namespace {

using capture::Event;

void must(bool condition) {
  if (!condition) std::abort();
}

enum class Writer { dead, lives, is_followed };

void walk_with(std::span<const std::byte> bytes, capture::SegmentState state, Writer writer) {
  const capture::SegmentName name{"run1", 0, 0, state};
  capture::ChainReader::Options options;
  options.open = [bytes](capture::SegmentFile&) -> Result<std::unique_ptr<capture::Source>> {
    return std::unique_ptr<capture::Source>(std::make_unique<capture::MemorySource>(bytes));
  };
  options.live = writer == Writer::is_followed;
  capture::ChainReader reader(
      {"run1", 0, {{to_string(name), name, bytes.size()}}, writer != Writer::dead}, options);
  // As often as it takes to look behind a place that is waited for.
  int waits_left = options.live ? 40 : 0;
  std::uint64_t read_bytes = 0;
  // A record takes up 48 bytes, and every 8 bytes can be bad.
  std::size_t events_left = bytes.size() / 4 + 16;
  while (true) {
    const Result<Event> event = reader.next();
    if (!event || event->type == Event::Type::end) return;
    if (event->type == Event::Type::wait) {
      must(options.live);
      if (waits_left-- == 0) return;
      continue;
    }
    must(events_left-- > 0);
    if (event->type != Event::Type::record) continue;
    must(event->payload.empty() ||
         (event->payload.data() >= bytes.data() &&
          event->payload.data() + event->payload.size() <= bytes.data() + bytes.size()));
    must(event->position + capture::kRecordHeaderBytes + event->payload.size() <= bytes.size());
    if (event->header.is(capture::Kind::data)) read_bytes += event->fresh().size();
    must(read_bytes <= bytes.size());
  }
}

}  // namespace

void walk(std::span<const std::byte> bytes, capture::SegmentState state) {
  for (const Writer writer : {Writer::dead, Writer::lives, Writer::is_followed}) {
    walk_with(bytes, state, writer);
  }
}

}  // namespace sluice::fuzz
