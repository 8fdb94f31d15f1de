#include "tests/capture/chain_writer.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <utility>

#include "iolib/base/crc32c.h"

namespace sluice::capture {
namespace {

constexpr std::uint64_t kStepNs = 1'000'000;
constexpr std::uint64_t kFirstMonotonicNs = 5'000'000'000;
constexpr std::uint64_t kFirstWallNs = 1'700'000'000'000'000'000;

}  // namespace

ChainWriter::ChainWriter(ChainSettings settings)
    : settings_(std::move(settings)), buffer_(settings_.frame_bytes), frame_(buffer_) {
  begin_segment();
}

RecordHeader ChainWriter::header(Kind kind, std::uint64_t connection, Side side) {
  now_ns_ += kStepNs;
  RecordHeader header;
  header.kind = static_cast<std::uint8_t>(kind);
  header.flags = static_cast<std::uint8_t>(side);
  header.connection = connection;
  header.monotonic_ns = kFirstMonotonicNs + now_ns_;
  header.wall_ns = kFirstWallNs + now_ns_;
  return header;
}

void ChainWriter::begin_segment() {
  SegmentFile& file = files_.emplace_back();
  file.name = {settings_.run, settings_.worker, files_.size() - 1, SegmentState::open};
  std::mt19937_64 random(settings_.seed * 1'000'003 + settings_.worker * 1009 + file.name.number);
  std::ranges::generate(id_, [&random] { return static_cast<std::byte>(random()); });
  frames_ = 0;
  durable_frames_ = 0;
  segment_data_bytes_ = 0;
  put(header(Kind::segment),
      encode(SegmentInfo{settings_.run, settings_.worker, file.name.number, "made up", "batch"}));
}

void ChainWriter::put_alive() {
  for (const auto& [connection, info] : alive_) {
    RecordHeader continued = header(Kind::open, connection);
    continued.flags = RecordHeader::kContinued;
    put(continued, encode(info, true));
  }
}

void ChainWriter::put(const RecordHeader& header, std::span<const std::byte> payload) {
  if (!frame_.fits(payload.size())) end_frame();
  if (!frame_.fits(payload.size())) throw std::length_error("a record longer than a frame");
  frame_.append(header, payload);
  if (header.is(Kind::data)) segment_data_bytes_ += payload.size();
}

void ChainWriter::append(const RecordHeader& header, std::span<const std::byte> payload) {
  unconfirmed_.push_back({header, Bytes(payload.begin(), payload.end())});
  count(header, payload);
  put(header, payload);
}

void ChainWriter::count(const RecordHeader& header, std::span<const std::byte> payload) {
  if (header.is(Kind::open)) alive_[header.connection] = decode_open(payload).value();
  if (header.is(Kind::close)) alive_.erase(header.connection);
  const auto alive = alive_.find(header.connection);
  if (alive == alive_.end()) return;
  SideState& state = alive->second.so_far[static_cast<std::size_t>(header.side())];
  if (header.is(Kind::data)) {
    state.offset += payload.size();
    state.recorded += payload.size();
    state.crc = crc32c(payload, state.crc);
  } else if (header.is(Kind::gap)) {
    state.offset += decode_gap(payload).value().bytes;
  } else if (header.is(Kind::eof)) {
    state.ended = SideEnd::eof;
  } else if (header.is(Kind::reset)) {
    state.ended = SideEnd::reset;
  }
}

void ChainWriter::open(std::uint64_t connection, const OpenInfo& info) {
  const RecordHeader record = header(Kind::open, connection);
  OpenInfo begun = info;
  begun.began_monotonic_ns = record.monotonic_ns;
  begun.began_wall_ns = record.wall_ns;
  append(record, encode(begun, false));
}

void ChainWriter::data(std::uint64_t connection, Side side, std::span<const std::byte> bytes) {
  RecordHeader record = header(Kind::data, connection, side);
  while (!bytes.empty()) {
    if (frame_.room_bytes() == 0) end_frame();
    const auto part = bytes.first(std::min(bytes.size(), frame_.room_bytes()));
    record.offset = state(connection, side).offset;
    append(record, part);
    bytes = bytes.subspan(part.size());
  }
}

void ChainWriter::data(std::uint64_t connection, Side side, std::string_view text) {
  data(connection, side, std::as_bytes(std::span(text)));
}

void ChainWriter::gap(std::uint64_t connection, Side side, std::uint64_t bytes, GapReason reason) {
  RecordHeader record = header(Kind::gap, connection, side);
  record.offset = state(connection, side).offset;
  append(record, encode(GapInfo{bytes, static_cast<std::uint32_t>(reason)}));
}

void ChainWriter::end(std::uint64_t connection, Side side, SideEnd how) {
  RecordHeader record = header(how == SideEnd::eof ? Kind::eof : Kind::reset, connection, side);
  record.offset = state(connection, side).offset;
  append(record);
}

void ChainWriter::close(std::uint64_t connection, std::string_view reason) {
  CloseInfo info;
  for (const Side side : {Side::client, Side::upstream}) {
    const SideState& from = state(connection, side);
    info.sides[static_cast<std::size_t>(side)] = {from.offset,   from.offset, from.offset,
                                                  from.recorded, from.crc,    from.ended};
  }
  info.reason = reason;
  append(header(Kind::close, connection), encode(info));
}

const SideState& ChainWriter::state(std::uint64_t connection, Side side) const {
  return alive_.at(connection).so_far[static_cast<std::size_t>(side)];
}

void ChainWriter::end_frame() {
  if (frame_.empty()) return;
  SegmentFile& file = files_.back();
  FrameHeader header;
  header.segment = id_;
  header.number = frames_++;
  header.durable_frames = durable_frames_;
  header.offset = file.bytes.size();
  file.frames.push_back(file.bytes.size());
  const std::span<const std::byte> sealed = frame_.seal(header);
  file.bytes.insert(file.bytes.end(), sealed.begin(), sealed.end());
  frame_ = FrameBuilder(buffer_);
}

void ChainWriter::confirm() {
  end_frame();
  durable_frames_ = frames_;
  mark_confirmed();
}

void ChainWriter::mark_confirmed() {
  confirmed_alive_ = alive_;
  unconfirmed_.clear();
}

void ChainWriter::seal_segment(SegmentEnd why) {
  const FooterInfo footer{segment_data_bytes_, static_cast<std::uint32_t>(why)};
  put(header(Kind::footer), encode(footer));
  end_frame();
  files_.back().name.state = SegmentState::sealed;
  mark_confirmed();
}

void ChainWriter::rotate() {
  seal_segment(SegmentEnd::rotation);
  begin_segment();
  put_alive();
}

void ChainWriter::finish() { seal_segment(SegmentEnd::end_of_run); }

void ChainWriter::crash(SegmentState state) {
  end_frame();
  files_.back().name.state = state;
}

void ChainWriter::give_up() {
  crash(SegmentState::suspect);
  alive_ = confirmed_alive_;
  begin_segment();
  for (const Kept& kept : std::exchange(unconfirmed_, {})) append(kept.header, kept.payload);
  put_alive();
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

void write_files(const std::string& directory, const std::vector<SegmentFile>& files) {
  std::filesystem::create_directories(directory);
  for (const SegmentFile& file : files) {
    write_file(directory + '/' + to_string(file.name), file.bytes);
  }
}

}  // namespace sluice::capture
