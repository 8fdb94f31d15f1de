#include "tests/capture/golden_captures.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/crc32c.h"
#include "tests/capture/chain_writer.h"

namespace sluice::capture {
namespace {

constexpr Side kClient = Side::client;
constexpr Side kUpstream = Side::upstream;

// The run makes the chains differ between captures.
ChainWriter chain(std::uint64_t seed, std::string run = "run1", std::uint32_t worker = 0) {
  return ChainWriter({std::move(run), worker, kGridBytes, seed});
}

OpenInfo peers(std::string id) {
  OpenInfo info;
  info.id = std::move(id);
  info.route = "orders";
  info.client = "127.0.0.1:40000";
  info.upstream = "[::1]:5432";
  return info;
}

std::string lines(std::string_view what, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += std::string(what) + ' ' + std::to_string(i) + '\n';
  return text;
}

// A request of some length, its answer, and the end of both sides.
void exchange(ChainWriter& writer, std::uint64_t connection, int length) {
  writer.data(connection, kClient, lines("request", length));
  writer.data(connection, kUpstream, lines("answer", length));
  writer.end(connection, kClient, SideEnd::eof);
  writer.end(connection, kUpstream, SideEnd::eof);
  writer.close(connection, "closed");
}

std::vector<SegmentFile> plain() {
  ChainWriter writer = chain(1);
  writer.open(1, peers("run1-0-1"));
  exchange(writer, 1, 500);
  writer.finish();
  return writer.files();
}

// One side sends on after the other's end. For another connection only one side is recorded.
std::vector<SegmentFile> half_close() {
  ChainWriter writer = chain(2);
  writer.open(1, peers("run1-0-1"));
  OpenInfo half = peers("run1-0-2");
  half.sides = 2;
  half.upstream = "echo:";
  writer.open(2, half);
  writer.data(1, kClient, "only a question");
  writer.end(1, kClient, SideEnd::eof);
  writer.data(2, kUpstream, lines("upstream alone", 20));
  writer.data(1, kUpstream, lines("a long answer", 400));
  writer.end(1, kUpstream, SideEnd::eof);
  writer.close(1, "closed");
  writer.end(2, kUpstream, SideEnd::eof);
  writer.close(2, "closed");
  writer.finish();
  return writer.files();
}

std::vector<SegmentFile> gaps() {
  ChainWriter writer = chain(3);
  writer.open(1, peers("run1-0-1"));
  std::uint64_t bytes = 1;
  for (const GapReason reason :
       {GapReason::buffers_full, GapReason::disk_full, GapReason::disk_failed,
        GapReason::not_duplicated, GapReason::limit}) {
    writer.data(1, kClient, lines("before a gap", 10));
    writer.gap(1, kClient, bytes, reason);
    bytes *= 1000;
  }
  // A reason that only a later version has.
  writer.gap(1, kUpstream, 7, static_cast<GapReason>(99));
  writer.end(1, kClient, SideEnd::eof);
  writer.close(1, "closed");
  writer.finish();
  return writer.files();
}

// Gaps of 0 bytes, which readers ignore: at the offset reached, beyond it, and for an unknown
// connection.
std::vector<SegmentFile> gap_of_nothing() {
  ChainWriter writer = chain(17);
  writer.open(1, peers("run1-0-1"));
  writer.data(1, kClient, "before, ");
  writer.gap(1, kClient, 0, GapReason::limit);
  RecordHeader beyond;
  beyond.kind = static_cast<std::uint8_t>(Kind::gap);
  beyond.connection = 1;
  beyond.offset = 1000;
  writer.append(beyond, encode(GapInfo{}));
  beyond.connection = 2;
  writer.append(beyond, encode(GapInfo{}));
  writer.data(1, kClient, "after.");
  writer.end(1, kClient, SideEnd::eof);
  writer.close(1, "closed");
  writer.finish();
  return writer.files();
}

std::vector<SegmentFile> reset() {
  ChainWriter writer = chain(4);
  writer.open(1, peers("run1-0-1"));
  writer.data(1, kClient, lines("request", 10));
  writer.data(1, kUpstream, "half an ans");
  writer.end(1, kUpstream, SideEnd::reset);
  writer.close(1, "upstream_reset");
  writer.finish();
  return writer.files();
}

// Both sides of a connection over three segments. Another connection lives only in the middle one.
std::vector<SegmentFile> three_segments(std::uint64_t seed) {
  ChainWriter writer = chain(seed);
  writer.open(1, peers("run1-0-1"));
  writer.data(1, kClient, lines("first segment", 100));
  writer.gap(1, kUpstream, 50, GapReason::buffers_full);
  writer.data(1, kUpstream, lines("first segment", 10));
  writer.rotate();
  writer.open(2, peers("run1-0-2"));
  exchange(writer, 2, 30);
  writer.data(1, kClient, lines("second segment", 300));
  writer.end(1, kClient, SideEnd::eof);
  writer.rotate();
  writer.data(1, kUpstream, lines("third segment", 50));
  writer.end(1, kUpstream, SideEnd::eof);
  writer.close(1, "closed");
  writer.finish();
  return writer.files();
}

std::vector<SegmentFile> without(std::vector<SegmentFile> files, std::ptrdiff_t index) {
  files.erase(files.begin() + index);
  return files;
}

// Unconfirmed records come twice.
std::vector<SegmentFile> rewritten() {
  ChainWriter writer = chain(7);
  writer.open(1, peers("run1-0-1"));
  writer.data(1, kClient, lines("confirmed", 100));
  writer.confirm();
  for (int i = 0; i < 30; ++i) writer.data(1, kClient, lines("written twice", 20));
  writer.open(2, peers("run1-0-2"));
  exchange(writer, 2, 30);
  writer.end_frame();
  SegmentFile& suspect = writer.files().back();
  // The disk wrote all unconfirmed frames except the second.
  std::fill_n(suspect.bytes.begin() + static_cast<std::ptrdiff_t>(suspect.frames[2]), kGridBytes,
              std::byte{});
  writer.give_up();
  writer.data(1, kClient, "afterwards");
  writer.end(1, kClient, SideEnd::eof);
  writer.close(1, "closed");
  writer.finish();
  return writer.files();
}

// Three frames, the last one partly written, then zeros.
std::vector<SegmentFile> torn_open() {
  ChainWriter writer = chain(8);
  writer.open(1, peers("run1-0-1"));
  writer.data(1, kClient, lines("confirmed", 300));
  writer.confirm();
  for (int i = 0; i < 10; ++i) writer.data(1, kUpstream, lines("perhaps", 20));
  writer.crash();
  Bytes& bytes = writer.files().back().bytes;
  std::fill(bytes.end() - kGridBytes + 1024, bytes.end(), std::byte{});
  bytes.resize(bytes.size() + 4 * kGridBytes);
  return writer.files();
}

// The second of four frames never reached the disk; the others did. If `confirmed`, one of them
// says that all frames before it were durable.
std::vector<SegmentFile> hole(std::uint64_t seed, bool confirmed) {
  ChainWriter writer = chain(seed);
  writer.open(1, peers("run1-0-1"));
  for (int frame = 0; frame < 4; ++frame) {
    writer.data(1, kClient, lines("frame " + std::to_string(frame), 30));
    writer.end_frame();
    if (confirmed && frame == 2) writer.confirm();
  }
  writer.crash();
  SegmentFile& file = writer.files().back();
  std::fill_n(file.bytes.begin() + static_cast<std::ptrdiff_t>(file.frames[1]), kGridBytes,
              std::byte{});
  return writer.files();
}

// A run that crashed, then recovered and sealed by the next one: without footer and `close`.
std::vector<SegmentFile> recovered() {
  ChainWriter first = chain(9, "run1", 1);
  first.open(1, peers("run1-1-1"));
  first.data(1, kClient, lines("before the crash", 20));
  first.crash(SegmentState::sealed);
  ChainWriter second = chain(9, "run2", 0);
  second.open(1, peers("run2-0-1"));
  exchange(second, 1, 5);
  second.crash(SegmentState::open);
  std::vector<SegmentFile> files = first.files();
  files.push_back(second.files().front());
  return files;
}

std::vector<SegmentFile> flipped() {
  std::vector<SegmentFile> files = plain();
  // Inside the payload of a record in the second frame.
  files[0].bytes[files[0].frames[1] + 1000] ^= std::byte{0x10};
  return files;
}

void patch_frame_flags(Bytes& bytes, std::size_t frame, std::size_t at) {
  constexpr std::size_t kCrcAt = 60;
  bytes[frame + at] = std::byte{0x80};
  const std::uint32_t crc = crc32c(std::span(bytes).subspan(frame, kCrcAt));
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[frame + kCrcAt + i] = static_cast<std::byte>(crc >> (8 * i));
  }
}

// Everything that a later version may add without breaking readers.
std::vector<SegmentFile> extended() {
  ChainWriter writer = chain(11);
  RecordHeader open;
  open.kind = static_cast<std::uint8_t>(Kind::open);
  open.connection = 1;
  Bytes fields = encode(peers("run1-0-1"), false);
  constexpr std::string_view kField("\x39\x30\x03\0new", 7);
  const auto field = std::as_bytes(std::span(kField));
  fields.insert(fields.end(), field.begin(), field.end());
  writer.append(open, fields);
  RecordHeader unknown;
  unknown.kind = 200;
  unknown.flags = 0xFC;
  unknown.connection = 1;
  writer.data(1, kClient, "before. ");
  writer.append(unknown, Bytes(333, std::byte{0xAA}));
  writer.append(unknown);
  writer.data(1, kClient, "after.");
  RecordHeader clock;
  clock.kind = static_cast<std::uint8_t>(Kind::clock);
  writer.append(clock);
  RecordHeader checkpoint;
  checkpoint.kind = static_cast<std::uint8_t>(Kind::checkpoint);
  writer.append(checkpoint);
  writer.close(1, "idle_timeout");
  writer.finish();
  constexpr std::size_t kCompatibleFlagsAt = 15;
  patch_frame_flags(writer.files()[0].bytes, 0, kCompatibleFlagsAt);
  return writer.files();
}

std::vector<SegmentFile> incompatible() {
  std::vector<SegmentFile> files = plain();
  constexpr std::size_t kIncompatibleFlagsAt = 13;
  patch_frame_flags(files[0].bytes, files[0].frames[1], kIncompatibleFlagsAt);
  return files;
}

// Connections that came and ended while the disk was full.
std::vector<SegmentFile> unrecorded() {
  ChainWriter writer = chain(13);
  RecordHeader lost;
  lost.kind = static_cast<std::uint8_t>(Kind::lost);
  writer.append(lost, encode_lost(3));
  writer.finish();
  return writer.files();
}

// Other files that may be in a capture's directory.
void write_strangers(const std::string& directory) {
  ChainWriter writer = chain(14);
  writer.open(1, peers("run1-0-1"));
  writer.data(1, kClient, "hello");
  writer.rotate();
  std::vector<SegmentFile> files = writer.files();
  files[1].bytes.clear();
  write_files(directory, files);
  write_file(directory + "/lock", {});
  const std::string_view text = "not a segment\n";
  for (const char* name : {"notes.txt", "RUN1-w000-0000000000.sluice", "run1-w00-0000000000.sluice",
                           "run1-w000-000000002.sluice", "run1-w000-0000000002.sluice.tmp"}) {
    write_file(directory + '/' + name, std::as_bytes(std::span(text)));
  }
}

}  // namespace

void write_golden_captures(const std::string& directory) {
  write_files(directory + "/plain", plain());
  write_files(directory + "/half-close", half_close());
  write_files(directory + "/gaps", gaps());
  write_files(directory + "/gap-of-nothing", gap_of_nothing());
  write_files(directory + "/reset", reset());
  write_files(directory + "/continued", without(three_segments(5), 0));
  write_files(directory + "/missing", without(three_segments(6), 1));
  write_files(directory + "/rewritten", rewritten());
  write_files(directory + "/torn", torn_open());
  write_files(directory + "/torn-hole", hole(15, false));
  write_files(directory + "/damaged-hole", hole(16, true));
  write_files(directory + "/recovered", recovered());
  write_files(directory + "/flipped", flipped());
  write_files(directory + "/extended", extended());
  write_files(directory + "/incompatible", incompatible());
  write_files(directory + "/unrecorded", unrecorded());
  write_files(directory + "/empty", {});
  write_file(directory + "/empty/lock", {});
  write_strangers(directory + "/strangers");
}

}  // namespace sluice::capture
