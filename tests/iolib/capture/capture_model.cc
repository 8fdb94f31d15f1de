#include "tests/iolib/capture/capture_model.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

namespace sluice::test {
namespace {

using capture::Durability;
using capture::Event;
using capture::Kind;
using capture::Side;
using capture::WhenFull;

constexpr std::size_t kContentBytes = 64 << 10;
constexpr std::size_t kMostAppended = 12 << 10;
constexpr std::size_t kMostConnections = 4;

// Random bytes with runs of zeros, which a reader must not take for the end of a file.
const std::vector<std::byte>& content_bytes() {
  static const std::vector<std::byte> bytes = [] {
    std::vector<std::byte> made(kContentBytes + kMostAppended + capture::kMaxPayloadBytes);
    Random random(7);
    for (std::size_t i = 0; i < kContentBytes; ++i) made[i] = static_cast<std::byte>(random());
    for (const std::size_t at : {6'000U, 30'000U, 50'000U}) {
      std::fill_n(made.begin() + static_cast<std::ptrdiff_t>(at), 10'000, std::byte{0});
    }
    for (std::size_t i = kContentBytes; i < made.size(); ++i) made[i] = made[i - kContentBytes];
    return made;
  }();
  return bytes;
}

}  // namespace

// What a reader finds of one stream.
struct CaptureModel::Seen {
  std::uint64_t reached = 0;
  std::vector<Range> holes;  // without a record
  bool begun = false;        // its beginning is known
};

CaptureModel::CaptureModel(const Options& options)
    : options_(options),
      random_(options.seed),
      disk_(options.seed + 1),
      store_(disk_, options.retention, SimulatedDisk::kZeroingRate) {
  reactor_.set_deliver([this] { return disk_.deliver(); });
  disk_.set_on_call([this](DiskCall call, std::uint64_t index) { return decide(call, index); });
  recorder_ = *capture::Recorder::create(reactor_, disk_, store_, options_.recorder);
  recorder_->start();
  recorder_->set_on_event([this](capture::Recorder::Event event, const Error&) {
    // Without syncs, nothing can be confirmed once blocks were released.
    if (event == capture::Recorder::Event::disk_failed &&
        options_.recorder.segments.durability == Durability::none) {
      sequences_hold_ = false;
    }
  });
}

CaptureModel::~CaptureModel() = default;

void CaptureModel::fail_call(std::uint64_t index, Fault fault, bool for_good) {
  failing_call_ = index;
  failing_with_ = fault;
  failing_for_good_ = for_good;
}

Fault CaptureModel::decide(DiskCall call, std::uint64_t index) {
  if (options_.crashes_per_mille > 0 && random_() % 1000 < options_.crashes_per_mille) crash();
  if (call == DiskCall::remove) keep_deleted();
  return choose_fault(call, index);
}

Fault CaptureModel::choose_fault(DiskCall call, std::uint64_t index) {
  if (index == failing_call_ || (failing_for_good_ && index > failing_call_)) return failing_with_;
  if (options_.faults_per_mille > 0 && random_() % 1000 < options_.faults_per_mille) {
    if (call == DiskCall::write && chance(random_, 50)) {
      return chance(random_, 50) ? Fault{Fault::Kind::short_write}
                                 : Fault{Fault::Kind::fails, EAGAIN};
    }
    return {Fault::Kind::fails, chance(random_, 50) ? EIO : ENOSPC};
  }
  if (options_.lies_per_mille > 0 && random_() % 1000 < options_.lies_per_mille) {
    if (call == DiskCall::sync || call == DiskCall::volume_sync) return {Fault::Kind::unsynced};
    if (call == DiskCall::write) {
      constexpr std::array kLies = {Fault::Kind::lost, Fault::Kind::torn, Fault::Kind::misdirected,
                                    Fault::Kind::unsynced};
      return {kLies[random_() % kLies.size()]};
    }
  }
  return {};
}

// --- What happens ---

bool CaptureModel::run() {
  for (unsigned i = 0; i < options_.steps && problem_.empty(); ++i) step();
  while (!connections_.empty()) {
    const auto open = std::ranges::find_if(
        connections_, [](const auto& each) { return each.second.recording != nullptr; });
    if (open == connections_.end()) break;
    close(open->second);
  }
  bool closed = false;
  recorder_->close([&closed] { closed = true; });
  constexpr int kMostTurns = 300;
  for (int turn = 0; turn < kMostTurns && !closed; ++turn) reactor_.step();
  const bool in_time = closed;
  if (!closed) recorder_->give_up();
  for (int turn = 0; turn < kMostTurns && !closed; ++turn) reactor_.step();
  confirm();
  if (!closed) fail("the recorder does not close");
  return in_time;
}

void CaptureModel::step() {
  const std::uint64_t what = random_() % 100;
  std::vector<Connection*> open_ones;
  for (auto& [id, connection] : connections_) {
    if (connection.recording != nullptr) open_ones.push_back(&connection);
  }
  for (Connection* connection : open_ones) {
    if (connection->failed) close(*connection);
  }
  std::erase_if(open_ones, [](const Connection* each) { return each->recording == nullptr; });
  if (open_ones.empty() || (what < 8 && open_ones.size() < kMostConnections)) {
    open();
  } else if (what < 75) {
    append(*open_ones[random_() % open_ones.size()], random_() % 2);
  } else if (what < 80) {
    end(*open_ones[random_() % open_ones.size()]);
  }
  if (chance(random_, 3)) {
    reactor_.pass(std::chrono::milliseconds(1100));  // checkpoints, another try
  } else if (chance(random_, 50)) {
    reactor_.pass(std::chrono::microseconds(random_() % 4000));
  }
  confirm();
}

void CaptureModel::open() {
  Connection& connection = connections_[next_connection_];
  connection.id = next_connection_++;
  connection.sink = chance(random_, 25);
  capture::OpenInfo info;
  info.id = "c" + std::to_string(connection.id);
  connection.recording = &recorder_->open(connection.id, info, {3, Tap::kNoLimit, connection.sink});
  connection.recording->set_on_failed([&connection] { connection.failed = true; });
}

void CaptureModel::append(Connection& connection, std::size_t side) {
  Stream& stream = connection.sides[side];
  if (stream.ended) return;
  capture::SideTap& tap = connection.recording->tap(static_cast<Side>(side));
  const std::size_t allowed = tap.allowance();
  std::size_t size = 1 + random_() % (chance(random_, 70) ? std::size_t{300} : kMostAppended);
  // Bytes of a receive that was in flight when room became short.
  const bool late = chance(random_, 5);
  if (allowed == 0 && !late) return;
  if (!late) size = std::min(size, allowed);
  const auto& counted = recorder_->counters().recorded_bytes;
  const std::uint64_t before = counted.get();
  const std::uint64_t begin = stream.appended;
  stream.appended += size;
  stream.dropping_from = begin;
  tap.append(begin, {content(connection.id, side, begin), size});
  stream.dropping_from = kNowhere;
  const std::uint64_t recorded = counted.get() - before;
  if (options_.recorder.when_full != WhenFull::block) {
    if (recorded == size) {
      stream.marks.push_back({recorder_->last_sequence(), stream.appended});
    } else if (!stream.dropped.empty() && stream.dropped.back().end == begin + recorded) {
      stream.dropped.back().end = stream.appended;
    } else {
      stream.dropped.push_back({begin + recorded, stream.appended});
    }
    return;
  }
  if (!late && recorded != size) return fail("an allowance was no promise");
  stream.spilled = (stream.spilled && allowed == 0) || (late && recorded != size);
  if (!stream.spilled) stream.marks.push_back({recorder_->last_sequence(), stream.appended});
}

// A sink's side may end only when all of it is durable. The model asks once, and again later.
void CaptureModel::end(Connection& connection) {
  if (connection.sink) {
    Stream& stream = connection.sides[0];
    stream.ended = true;
    if (connection.recording->tap(Side::client).may_end(stream.appended)) {
      stream.confirmed = stream.appended;
      if (!stream.dropped.empty()) return fail("a sink confirmed what it had dropped");
      close(connection);
    }
    return;
  }
  for (const std::size_t side : {0U, 1U}) {
    Stream& stream = connection.sides[side];
    stream.ended = true;
    capture::SideTap& tap = connection.recording->tap(static_cast<Side>(side));
    if (chance(random_, 80)) {
      tap.eof(stream.appended);
    } else {
      tap.reset(stream.appended);
    }
  }
  close(connection);
}

void CaptureModel::close(Connection& connection) {
  for (const std::size_t side : {0U, 1U}) {
    const std::uint64_t bytes = connection.sides[side].appended;
    connection.recording->tap(static_cast<Side>(side)).closed({bytes, bytes, bytes});
  }
  // This call may destroy it.
  confirm();
  std::exchange(connection.recording, nullptr)->close("closed");
}

void CaptureModel::confirm() {
  const std::uint64_t durable = recorder_->durable_sequence();
  const bool gated = options_.recorder.segments.durability == Durability::before_forward;
  confirmed_bytes_ = 0;
  for (auto& [id, connection] : connections_) {
    for (const std::size_t side : {0U, 1U}) {
      Stream& stream = connection.sides[side];
      if (sequences_hold_) {
        const auto behind = std::ranges::find_if(
            stream.marks, [&](const Mark& mark) { return mark.sequence > durable; });
        if (behind != stream.marks.begin()) {
          stream.confirmed = std::max(stream.confirmed, std::prev(behind)->offset);
        }
        stream.marks.erase(stream.marks.begin(), behind);
      }
      if (gated && connection.recording != nullptr) {
        stream.confirmed = std::max(stream.confirmed,
                                    connection.recording->tap(static_cast<Side>(side)).watermark());
      }
      confirmed_bytes_ += stream.confirmed;
    }
  }
}

void CaptureModel::fail(const std::string& problem) {
  if (!problem_.empty()) return;
  problem_ = "seed " + std::to_string(options_.seed) + ", call " + std::to_string(disk_.calls()) +
             ", " + std::string(capture::to_string(options_.recorder.segments.durability)) + ": " +
             problem;
}

const std::byte* CaptureModel::content(std::uint64_t connection, std::size_t side,
                                       std::uint64_t offset) const {
  return &content_bytes()[(offset + connection * 7'919 + side * 3'001) % kContentBytes];
}

// --- What a reader finds ---

void CaptureModel::crash() {
  if (inside_ || !problem_.empty()) return;
  inside_ = true;
  if (recorder_) confirm();
  ++crashes_;
  std::map<std::string, SimulatedDisk::Remains> remains = disk_.crash(random_());
  const bool damaged = disk_.lied() && expects_damage(remains);
  SimulatedDisk::Files files;
  for (auto& [name, left] : remains) files[name] = std::move(left.bytes);
  // Sometimes the power fails again while segments are being sealed.
  if (chance(random_, 10)) files = crash_in_recovery(files);
  SimulatedDisk after(random_(), files);
  capture::Store store(after, {});
  if (const auto recovered = store.recover(); recovered.has_error()) {
    fail("recovery fails: " + recovered.error().to_string());
  } else {
    check(after.files(), damaged);
  }
  inside_ = false;
}

SimulatedDisk::Files CaptureModel::crash_in_recovery(const SimulatedDisk::Files& files) {
  SimulatedDisk disk(random_(), files);
  const std::uint64_t when = random_() % 16;
  const std::uint64_t how = random_();
  SimulatedDisk::Files left = files;
  disk.set_on_call([&](DiskCall, std::uint64_t index) {
    if (index != when) return Fault{};
    left.clear();
    for (auto& [name, remains] : disk.crash(how)) left[name] = std::move(remains.bytes);
    return Fault{};
  });
  capture::Store store(disk, {});
  static_cast<void>(store.recover());
  return left;
}

// Whether a frame differs from what was written although a good header says that it was durable.
bool CaptureModel::expects_damage(
    const std::map<std::string, SimulatedDisk::Remains>& remains) const {
  for (const auto& [name, left] : remains) {
    if (!capture::parse_segment_name(name)) continue;
    const std::span<const std::byte> written = *left.written;
    const std::span<const std::byte> found = left.bytes;
    std::uint32_t mark = 0;
    std::optional<std::uint32_t> first_bad;
    for (std::size_t at = 0; at < written.size();) {
      const auto header = capture::decode_frame_header(written.subspan(at));
      if (!header) break;
      const std::size_t end = at + header->frame_bytes;
      const auto same = [&](std::size_t size) {
        // The last write may be only the beginning of a frame: a short write that was not
        // continued.
        return std::min(written.size(), found.size()) >= at + size &&
               std::memcmp(&written[at], &found[at], size) == 0;
      };
      if (!same(header->used_bytes))
        first_bad = std::min(first_bad.value_or(header->number), header->number);
      if (same(capture::kFrameHeaderBytes)) mark = std::max(mark, header->durable_frames);
      at = end;
    }
    if (first_bad && *first_bad < mark) return true;
  }
  return false;
}

void CaptureModel::check(const SimulatedDisk::Files& files, bool expects_damage) {
  std::map<std::uint64_t, std::array<Seen, 2>> seen;
  bool damage = false;
  const std::string error = for_each_event(files, [&](const Event& event) {
    if (event.type == Event::Type::finding) {
      damage |= event.finding.severity == capture::Finding::Severity::damage;
      if (damage && !disk_.lied()) {
        fail("damage without a lie: " + std::string(event.finding.what) + " in " +
             event.segment->path + " at " + std::to_string(event.finding.offset));
      }
    }
    if (event.type == Event::Type::record) check_event(event, seen);
  });
  if (!error.empty()) fail("the reader fails: " + error);
  if (expects_damage && !damage) fail("damage is not reported");
  damage_found_ += damage ? 1 : 0;
  if (disk_.lied()) return;
  if (deletions_ > 0) {
    seen.clear();
    static_cast<void>(for_each_event(with_deleted(files), [&](const Event& event) {
      if (event.type == Event::Type::record) check_event(event, seen);
    }));
  }
  check_confirmed(seen);
}

// The model cannot tell before a deletion which file it is. It finds out at the next call, from the
// files that are gone.
void CaptureModel::keep_deleted() {
  const SimulatedDisk::Files now = disk_.files();
  deleted_ = with_deleted(now);
  for (const auto& [name, bytes] : now) deleted_.erase(name);
  before_deletion_ = now;
  if (options_.retention.size_bytes != 0) ++deletions_;
}

// Confirmed bytes may be missing only if they were deleted with their segment.
SimulatedDisk::Files CaptureModel::with_deleted(SimulatedDisk::Files files) const {
  std::set<std::uint64_t> there;
  for (const auto& [name, bytes] : files) there.insert(capture::parse_segment_name(name)->number);
  for (const SimulatedDisk::Files* some : {&before_deletion_, &deleted_}) {
    for (const auto& [name, bytes] : *some) {
      if (there.insert(capture::parse_segment_name(name)->number).second) files[name] = bytes;
    }
  }
  return files;
}

void CaptureModel::check_event(const Event& event,
                               std::map<std::uint64_t, std::array<Seen, 2>>& seen) {
  const auto found = connections_.find(event.header.connection);
  if (found == connections_.end()) {
    if (event.header.connection != 0) fail("a connection that never was");
    return;
  }
  const auto index = static_cast<std::size_t>(event.header.side());
  const Stream& stream = found->second.sides[index];
  for (const std::size_t each : {0U, 1U}) {
    const capture::StreamEffect::Lost& lost = event.effect.lost[each];
    if (lost.bytes == 0) continue;
    Seen& loser = seen[found->first][each];
    loser.holes.push_back({lost.offset, lost.offset + lost.bytes});
    loser.reached = std::max(loser.reached, lost.offset + lost.bytes);
  }
  if (event.header.is(Kind::open) && !event.header.continued()) {
    for (Seen& side : seen[found->first]) side.begun = true;
  }
  if (event.header.is(Kind::close) && !event.effect.repeated) {
    return check_close(event, seen[found->first]);
  }
  const bool is_data = event.header.is(Kind::data);
  if ((!is_data && !event.header.is(Kind::gap)) || event.effect.repeated) return;
  const std::uint64_t begin = event.fresh_offset();
  const std::uint64_t end = is_data
                                ? begin + event.fresh().size()
                                : event.header.offset + capture::decode_gap(event.payload)->bytes;
  Seen& side = seen[found->first][index];
  if (begin > side.reached) side.holes.push_back({side.reached, begin});
  side.reached = end;
  const auto where = [&] {
    return " at " + std::to_string(begin) + " of connection " + std::to_string(found->first) +
           ", side " + std::to_string(index);
  };
  if (end > stream.appended) fail("more than was appended" + where());
  if (is_data) {
    const std::span<const std::byte> fresh = event.fresh();
    if (std::memcmp(fresh.data(), content(found->first, index, begin), fresh.size()) != 0) {
      fail("wrong bytes" + where());
    }
  } else if (begin < stream.dropping_from &&
             std::ranges::none_of(stream.dropped, [&](const Range& dropped) {
               return dropped.begin <= begin && end <= dropped.end;
             })) {
    fail("a gap where nothing was dropped" + where());
  }
}

// A connection with a `close` is complete, or reports what is missing.
void CaptureModel::check_close(const Event& event, const std::array<Seen, 2>& seen) {
  const capture::CloseInfo info = *capture::decode_close(event.payload);
  for (const std::size_t side : {0U, 1U}) {
    const Stream& stream = connections_[event.header.connection].sides[side];
    std::uint64_t recorded = stream.appended;
    for (const Range& dropped : stream.dropped) recorded -= dropped.end - dropped.begin;
    if (info.sides[side].recorded != recorded) fail("close tells another sum");
    const bool whole = seen[side].holes.empty() && seen[side].reached == stream.appended;
    if (!whole && seen[side].begun && seen[side].holes.empty() && !event.effect.mismatch[side]) {
      fail("bytes are missing in silence from connection " +
           std::to_string(event.header.connection) + ", side " + std::to_string(side) + ": " +
           std::to_string(seen[side].reached) + " of " + std::to_string(stream.appended) +
           (disk_.lied() ? " after a lie" : "") +
           (event.effect.mismatch[side] ? ", mismatch" : ""));
    }
  }
}

void CaptureModel::check_confirmed(std::map<std::uint64_t, std::array<Seen, 2>>& seen) {
  for (const auto& [id, connection] : connections_) {
    for (const std::size_t side : {0U, 1U}) {
      const Stream& stream = connection.sides[side];
      const Seen& found = seen[id][side];
      const bool hole = std::ranges::any_of(
          found.holes, [&](const Range& each) { return each.begin < stream.confirmed; });
      if (found.reached < stream.confirmed || hole) {
        fail("confirmed " + std::to_string(stream.confirmed) + " bytes of connection " +
             std::to_string(id) + ", side " + std::to_string(side) + ", found " +
             std::to_string(found.reached) + (hole ? " with a hole" : ""));
      }
    }
  }
}

}  // namespace sluice::test
