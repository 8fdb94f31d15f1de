#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/capture/capture_set.h"
#include "iolib/capture/format.h"
#include "iolib/capture/reader.h"

namespace sluice::test {

/// A record to write. The lengths and CRCs are filled in.
struct CaptureRecord {
  capture::RecordHeader header;
  std::vector<std::byte> payload = {};
};

[[nodiscard]] std::vector<std::byte> bytes_of(std::string_view text);
/// `size` bytes that look random, the same for the same `seed`.
[[nodiscard]] std::vector<std::byte> random_bytes(std::size_t size, std::uint64_t seed);

// --- Records. Times are derived from the connection and the offset ---

[[nodiscard]] CaptureRecord open_record(std::uint64_t connection, const capture::OpenInfo& info,
                                        bool continued = false);
/// Of a connection called `c<connection>`, from 10.0.0.<connection>:4000 to 127.0.0.1:80.
[[nodiscard]] capture::OpenInfo open_info(std::uint64_t connection);
[[nodiscard]] CaptureRecord open_record(std::uint64_t connection);
[[nodiscard]] CaptureRecord data_record(std::uint64_t connection, capture::Side side,
                                        std::uint64_t offset, std::span<const std::byte> bytes);
[[nodiscard]] CaptureRecord data_record(std::uint64_t connection, capture::Side side,
                                        std::uint64_t offset, std::string_view text);
[[nodiscard]] CaptureRecord gap_record(std::uint64_t connection, capture::Side side,
                                       std::uint64_t offset, std::uint64_t bytes,
                                       capture::GapReason reason);
/// eof or reset
[[nodiscard]] CaptureRecord end_record(capture::Kind kind, std::uint64_t connection,
                                       capture::Side side, std::uint64_t offset);
[[nodiscard]] CaptureRecord close_record(std::uint64_t connection, const capture::CloseInfo& info);
/// The totals of a side whose bytes are `bytes`, all of them recorded.
[[nodiscard]] capture::SideTotals totals_of(std::span<const std::byte> bytes);
/// A whole connection: open, the bytes of both sides in records of `piece_bytes`, eof, close.
[[nodiscard]] std::vector<CaptureRecord> connection_records(std::uint64_t connection,
                                                            std::span<const std::byte> client,
                                                            std::span<const std::byte> upstream,
                                                            std::size_t piece_bytes = 1000);

// --- Segments ---

struct SegmentPlan {
  std::string run = "run1";
  std::uint32_t worker = 0;
  std::uint64_t number = 0;
  std::size_t frame_bytes = 4096;  ///< the most that a frame has; a multiple of capture::kGridBytes
  bool footer = true;
  /// Each frame's header says that all frames before it are durable, except this many.
  std::uint32_t frames_in_flight = 2;
  std::uint8_t id = 1;  ///< the segment's id is made from it
  std::size_t zeros_behind_bytes = 0;
  std::string durability = "batch";
  std::uint64_t begun_ns = 0;  ///< added to the times of its `segment` record
};

/// The segment's file: its `segment` record, `records`, and the footer if the plan has one.
[[nodiscard]] std::vector<std::byte> build_segment(const SegmentPlan& plan,
                                                   const std::vector<CaptureRecord>& records);
/// Writes the segment into `directory` under its name, and returns its path.
std::string write_segment(const std::string& directory, const SegmentPlan& plan,
                          const std::vector<CaptureRecord>& records,
                          capture::SegmentState state = capture::SegmentState::sealed);
/// The same with `bytes` as its contents, valid or not.
std::string write_segment_bytes(const std::string& directory, const SegmentPlan& plan,
                                std::span<const std::byte> bytes,
                                capture::SegmentState state = capture::SegmentState::sealed);

// --- Reading segments that are in memory ---

struct MemorySegment {
  std::vector<std::byte> bytes;
  capture::SegmentState state = capture::SegmentState::sealed;
  std::uint64_t number = 0;
};

/// A chain of them, as a ChainReader opens it. Borrows `segments`.
[[nodiscard]] capture::Chain memory_chain(const std::vector<MemorySegment>& segments);
[[nodiscard]] capture::ChainReader::Options memory_options(
    const std::vector<MemorySegment>& segments);

}  // namespace sluice::test
