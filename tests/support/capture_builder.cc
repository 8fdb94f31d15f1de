#include "tests/support/capture_builder.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <stdexcept>

#include "iolib/base/crc32c.h"
#include "iolib/capture/frame_builder.h"
#include "tests/support/memory_source.h"

namespace sluice::test {

using capture::Kind;
using capture::Side;

namespace {

// Wall: 2026-01-01. Monotonic: some hours after the machine's start.
constexpr std::uint64_t kWallNs = 1'767'225'600'000'000'000;
constexpr std::uint64_t kMonotonicNs = 10'000'000'000'000;

CaptureRecord record(Kind kind, std::uint64_t connection, Side side = Side::client,
                     std::uint64_t offset = 0, std::vector<std::byte> payload = {}) {
  capture::RecordHeader header;
  header.kind = static_cast<std::uint8_t>(kind);
  header.flags = static_cast<std::uint8_t>(side);
  header.connection = connection;
  header.offset = offset;
  const std::uint64_t since = connection * 1'000'000'000 + offset;
  header.monotonic_ns = kMonotonicNs + since;
  header.wall_ns = kWallNs + since;
  return {header, std::move(payload)};
}

// Appends frames to a file in memory.
class SegmentBuilder {
 public:
  explicit SegmentBuilder(const SegmentPlan& plan) : plan_(plan), buffer_(plan.frame_bytes) {
    std::ranges::fill(segment_, std::byte{plan.id});
  }
  void add(const CaptureRecord& each) {
    if (!frame_.fits(each.payload.size())) flush();
    if (!frame_.fits(each.payload.size())) throw std::runtime_error("a record beyond its frame");
    frame_.append(each.header, each.payload);
  }
  void flush() {
    if (frame_.empty()) return;
    capture::FrameHeader header;
    header.segment = segment_;
    header.number = number_;
    header.durable_frames = number_ - std::min(number_, plan_.frames_in_flight);
    header.offset = file_.size();
    const std::span<const std::byte> frame = frame_.seal(header);
    file_.insert(file_.end(), frame.begin(), frame.end());
    frame_ = capture::FrameBuilder(buffer_);
    ++number_;
  }
  [[nodiscard]] std::vector<std::byte> take() {
    file_.resize(file_.size() + plan_.zeros_behind_bytes);
    return std::move(file_);
  }

 private:
  const SegmentPlan& plan_;
  capture::SegmentId segment_{};
  std::vector<std::byte> buffer_;
  capture::FrameBuilder frame_{buffer_};
  std::vector<std::byte> file_;
  std::uint32_t number_ = 0;
};

}  // namespace

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto* from = reinterpret_cast<const std::byte*>(text.data());
  return {from, from + text.size()};
}

std::vector<std::byte> random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(&bytes[at], &word, std::min(sizeof word, size - at));
  }
  return bytes;
}

CaptureRecord open_record(std::uint64_t connection, const capture::OpenInfo& info, bool continued) {
  CaptureRecord result =
      record(Kind::open, connection, Side::client, 0, capture::encode(info, continued));
  if (continued) result.header.flags |= capture::RecordHeader::kContinued;
  return result;
}

capture::OpenInfo open_info(std::uint64_t connection) {
  capture::OpenInfo info;
  info.id = "c" + std::to_string(connection);
  info.route = "web";
  info.client = "10.0.0." + std::to_string(connection) + ":4000";
  info.upstream = "127.0.0.1:80";
  info.began_wall_ns = kWallNs + connection * 1'000'000'000;
  info.began_monotonic_ns = kMonotonicNs + connection * 1'000'000'000;
  return info;
}

CaptureRecord open_record(std::uint64_t connection) {
  return open_record(connection, open_info(connection));
}

CaptureRecord data_record(std::uint64_t connection, Side side, std::uint64_t offset,
                          std::span<const std::byte> bytes) {
  return record(Kind::data, connection, side, offset, {bytes.begin(), bytes.end()});
}

CaptureRecord data_record(std::uint64_t connection, Side side, std::uint64_t offset,
                          std::string_view text) {
  return record(Kind::data, connection, side, offset, bytes_of(text));
}

CaptureRecord gap_record(std::uint64_t connection, Side side, std::uint64_t offset,
                         std::uint64_t bytes, capture::GapReason reason) {
  return record(Kind::gap, connection, side, offset,
                capture::encode(capture::GapInfo{bytes, static_cast<std::uint32_t>(reason)}));
}

CaptureRecord end_record(Kind kind, std::uint64_t connection, Side side, std::uint64_t offset) {
  return record(kind, connection, side, offset);
}

CaptureRecord close_record(std::uint64_t connection, const capture::CloseInfo& info) {
  return record(Kind::close, connection, Side::client, 0, capture::encode(info));
}

capture::SideTotals totals_of(std::span<const std::byte> bytes) {
  return {bytes.size(), bytes.size(),  bytes.size(),
          bytes.size(), crc32c(bytes), capture::SideEnd::eof};
}

std::vector<CaptureRecord> connection_records(std::uint64_t connection,
                                              std::span<const std::byte> client,
                                              std::span<const std::byte> upstream,
                                              std::size_t piece_bytes) {
  std::vector<CaptureRecord> records = {open_record(connection)};
  const auto add = [&](Side side, std::span<const std::byte> bytes, std::size_t at) {
    if (at >= bytes.size()) return;
    const std::size_t size = std::min(piece_bytes, bytes.size() - at);
    records.push_back(data_record(connection, side, at, bytes.subspan(at, size)));
  };
  for (std::size_t at = 0; at < std::max(client.size(), upstream.size()); at += piece_bytes) {
    add(Side::client, client, at);
    add(Side::upstream, upstream, at);
  }
  records.push_back(end_record(Kind::eof, connection, Side::client, client.size()));
  records.push_back(end_record(Kind::eof, connection, Side::upstream, upstream.size()));
  records.push_back(close_record(connection, {{totals_of(client), totals_of(upstream)}, "closed"}));
  return records;
}

std::vector<std::byte> build_segment(const SegmentPlan& plan,
                                     const std::vector<CaptureRecord>& records) {
  SegmentBuilder builder(plan);
  const capture::SegmentInfo info{plan.run, plan.worker, plan.number, "test 1", plan.durability};
  CaptureRecord first = record(Kind::segment, 0, Side::client, 0, capture::encode(info));
  first.header.monotonic_ns += plan.begun_ns;
  first.header.wall_ns += plan.begun_ns;
  builder.add(first);
  capture::FooterInfo footer{0, static_cast<std::uint32_t>(capture::SegmentEnd::rotation)};
  for (const CaptureRecord& each : records) {
    builder.add(each);
    if (each.header.is(Kind::data)) footer.data_bytes += each.payload.size();
  }
  if (plan.footer) builder.add(record(Kind::footer, 0, Side::client, 0, capture::encode(footer)));
  builder.flush();
  return builder.take();
}

std::string write_segment(const std::string& directory, const SegmentPlan& plan,
                          const std::vector<CaptureRecord>& records, capture::SegmentState state) {
  return write_segment_bytes(directory, plan, build_segment(plan, records), state);
}

std::string write_segment_bytes(const std::string& directory, const SegmentPlan& plan,
                                std::span<const std::byte> bytes, capture::SegmentState state) {
  const capture::SegmentName name{plan.run, plan.worker, plan.number, state};
  std::string path = directory + '/' + to_string(name);
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  if (!stream.flush()) throw std::runtime_error("cannot write " + path);
  return path;
}

capture::Chain memory_chain(const std::vector<MemorySegment>& segments) {
  capture::Chain chain{"run1", 0, {}};
  for (const MemorySegment& segment : segments) {
    const capture::SegmentName name{"run1", 0, segment.number, segment.state};
    chain.segments.push_back({to_string(name), name, segment.bytes.size()});
  }
  return chain;
}

capture::ChainReader::Options memory_options(const std::vector<MemorySegment>& segments) {
  capture::ChainReader::Options options;
  options.open =
      [&segments](capture::SegmentFile& file) -> Result<std::unique_ptr<capture::Source>> {
    const auto found = std::ranges::find(segments, file.name.number, &MemorySegment::number);
    if (found == segments.end()) return std::unique_ptr<capture::Source>();
    return std::unique_ptr<capture::Source>(std::make_unique<test::MemorySource>(found->bytes));
  };
  return options;
}

}  // namespace sluice::test
