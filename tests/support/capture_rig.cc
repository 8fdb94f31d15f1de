#include "tests/support/capture_rig.h"

#include <algorithm>
#include <utility>

#include "tests/support/memory_source.h"

namespace sluice::test {

using capture::Event;
using capture::Finding;
using capture::Kind;

std::string for_each_event(const SimulatedDisk::Files& files,
                           const std::function<void(const Event&)>& take) {
  std::vector<capture::Chain> chains;
  for (const auto& [file_name, bytes] : files) {
    const std::optional<capture::SegmentName> name = capture::parse_segment_name(file_name);
    if (!name) continue;
    if (chains.empty() || chains.back().run != name->run || chains.back().worker != name->worker) {
      chains.push_back({name->run, name->worker, {}});
    }
    chains.back().segments.push_back({file_name, *name, bytes.size()});
  }
  capture::ChainReader::Options options;
  options.open = [&](capture::SegmentFile& file) -> Result<std::unique_ptr<capture::Source>> {
    return std::unique_ptr<capture::Source>(
        std::make_unique<test::MemorySource>(files.at(file.path)));
  };
  for (capture::Chain& chain : chains) {
    capture::ChainReader reader(std::move(chain), options);
    for (;;) {
      const Result<Event> event = reader.next();
      if (event.has_error()) return event.error().to_string();
      if (event->type == Event::Type::end) break;
      take(*event);
    }
  }
  return {};
}

namespace {

void take_record(const Event& event, ReadCapture& capture) {
  capture.checkpoints += event.header.is(Kind::checkpoint) ? 1 : 0;
  if (event.header.is(Kind::lost)) {
    capture.lost_connections += *capture::decode_lost(event.payload);
  }
  if (event.header.connection == 0) return;
  ReadConnection& connection = capture.connections[event.header.connection];
  ReadSide& side = connection.sides[static_cast<std::size_t>(event.header.side())];
  connection.tables += event.header.is(Kind::open) && event.header.continued() ? 1 : 0;
  if (event.effect.repeated) return;
  switch (static_cast<Kind>(event.header.kind)) {
    case Kind::open:
      ++connection.opens;
      break;
    case Kind::data: {
      const auto fresh = event.fresh();
      side.bytes.append(reinterpret_cast<const char*>(fresh.data()), fresh.size());
      side.offset = event.fresh_offset() + fresh.size();
      break;
    }
    case Kind::gap: {
      const capture::GapInfo gap = *capture::decode_gap(event.payload);
      side.gaps.push_back({event.fresh_offset(), gap.bytes - event.effect.skip_bytes,
                           static_cast<capture::GapReason>(gap.reason)});
      side.offset = event.header.offset + gap.bytes;
      break;
    }
    case Kind::eof:
      side.ended = capture::SideEnd::eof;
      break;
    case Kind::reset:
      side.ended = capture::SideEnd::reset;
      break;
    case Kind::close:
      connection.close = capture::decode_close(event.payload);
      break;
    default:
      break;
  }
}

}  // namespace

ReadCapture read_capture(const SimulatedDisk::Files& files) {
  ReadCapture capture;
  capture.error = for_each_event(files, [&capture](const Event& event) {
    if (event.type == Event::Type::segment) capture.segments.push_back(event.segment->path);
    if (event.type == Event::Type::record) take_record(event, capture);
    if (event.type != Event::Type::finding) return;
    const Finding& finding = event.finding;
    capture.torn += finding.severity == Finding::Severity::torn ? 1 : 0;
    capture.damage += finding.severity == Finding::Severity::damage ? 1 : 0;
    if (finding.severity != Finding::Severity::lost) return;
    ++capture.lost;
    capture.connections[finding.connection]
        .sides[static_cast<std::size_t>(finding.side)]
        .lost_bytes += finding.bytes;
  });
  return capture;
}

// --- CaptureRig ---

capture::RecorderOptions CaptureRig::small_options(capture::Durability durability) {
  capture::RecorderOptions options;
  options.segments.durability = durability;
  options.segments.segment_bytes = 128 << 10;
  options.segments.run = "run1";
  options.segments.program = "test";
  options.buffer_bytes = 64 << 10;
  return options;
}

CaptureRig::CaptureRig(const capture::RecorderOptions& options, const capture::Retention& retention,
                       std::uint64_t seed)
    : disk(seed), store(disk, retention, SimulatedDisk::kZeroingRate) {
  reactor.set_deliver([this] { return disk.deliver(); });
  Result<std::unique_ptr<capture::Recorder>> created =
      capture::Recorder::create(reactor, disk, store, options);
  recorder = std::move(*created);
  recorder->start();
  recorder->set_on_event(
      [this](capture::Recorder::Event event, const Error&) { events.push_back(event); });
}

CaptureRig::~CaptureRig() {
  if (!recorder) return;
  disk.set_stalled(false);
  disk.set_free_bytes(~std::uint64_t{0});
  disk.set_on_call(nullptr);
  static_cast<void>(close());
}

capture::Recording& CaptureRig::open(std::uint64_t connection,
                                     const capture::RecordingOptions& options) {
  capture::OpenInfo info;
  info.id = "c" + std::to_string(connection);
  capture::Recording& recording = recorder->open(connection, info, options);
  open_[connection] = &recording;
  return recording;
}

void CaptureRig::append(capture::Recording& recording, std::string_view bytes, capture::Side side) {
  std::uint64_t& offset = offsets_[{&recording, side}];
  recording.tap(side).append(offset, std::as_bytes(std::span(bytes)));
  offset += bytes.size();
}

void CaptureRig::close(capture::Recording& recording, std::string_view reason) {
  for (const capture::Side side : {capture::Side::client, capture::Side::upstream}) {
    const auto found = offsets_.find({&recording, side});
    const std::uint64_t seen = found == offsets_.end() ? 0 : found->second;
    recording.tap(side).closed({seen, seen, seen});
    if (found != offsets_.end()) offsets_.erase(found);
  }
  std::erase_if(open_, [&](const auto& each) { return each.second == &recording; });
  recording.close(reason);
}

bool CaptureRig::run_until(const std::function<bool()>& condition) {
  constexpr int kMostTurns = 20'000;
  for (int turn = 0; turn < kMostTurns; ++turn) {
    if (condition()) return true;
    reactor.step();
  }
  return condition();
}

void CaptureRig::settle() {
  constexpr int kTurns = 50;
  for (int turn = 0; turn < kTurns; ++turn) reactor.pass(Duration::zero());
}

void CaptureRig::pass(Duration time) {
  constexpr Duration kStep = std::chrono::milliseconds(1);
  for (const TimePoint end = reactor.now() + time; reactor.now() < end;) reactor.pass(kStep);
}

bool CaptureRig::run_until_durable() {
  return run_until([this] { return recorder->durable_sequence() >= recorder->last_sequence(); });
}

bool CaptureRig::close() {
  while (!open_.empty()) close(*open_.begin()->second);
  bool closed = false;
  recorder->close([&closed] { closed = true; });
  if (!run_until([&closed] { return closed; })) {
    recorder->give_up();
    static_cast<void>(run_until([&closed] { return closed; }));
    recorder.reset();
    return false;
  }
  recorder.reset();
  return true;
}

std::uint64_t CaptureRig::dropped(capture::GapReason reason) const {
  return recorder->counters().dropped_bytes[static_cast<std::size_t>(reason)];
}

}  // namespace sluice::test
