#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>

#include "iolib/base/error.h"
#include "iolib/capture/format.h"

namespace sluice::capture {

/// The most open connections that a tracker remembers.
inline constexpr std::size_t kMostConnections = 1'000'000;

/// The effect of a record on its stream.
struct StreamEffect {
  struct Lost {
    std::uint64_t offset = 0;  ///< offset in the stream
    std::uint64_t bytes = 0;   ///< 0: nothing
  };
  bool repeated = false;  ///< nothing is new: written again after a disk error, or a gap of 0 bytes
  std::uint64_t skip_bytes = 0;   ///< data, gap: number of its first bytes that are already known
  std::array<Lost, 2> lost = {};  ///< by Side: bytes before this record that no record mentions
  std::array<bool, 2> mismatch = {};  ///< by Side; close: the checksum does not match the bytes
};

/// A set of mostly consecutive numbers, stored as ranges. Beyond `most_ranges` ranges, it forgets
/// the lowest ones.
class NumberSet {
 public:
  explicit NumberSet(std::size_t most_ranges) : most_ranges_(most_ranges) {}
  void insert(std::uint64_t number);
  [[nodiscard]] bool contains(std::uint64_t number) const;
  void clear() { ranges_.clear(); }

 private:
  std::size_t most_ranges_;
  std::map<std::uint64_t, std::uint64_t> ranges_;  // first number to last number
};

/// Tracks the streams of one chain by FORMAT.md, "Rules for the streams".
class StreamTracker {
 public:
  explicit StreamTracker(std::size_t most_connections = kMostConnections)
      : most_connections_(most_connections), closed_(most_connections) {}

  /// Takes the next good record of the chain. A record that belongs to no stream has no effect.
  /// Fails if more than `most_connections` connections are open.
  [[nodiscard]] Result<StreamEffect> take(const RecordHeader& header,
                                          std::span<const std::byte> payload);
  /// The following records belong to a segment in this state. If a segment is not sealed,
  /// connections that ended in it may be written again in the next one.
  void begin_segment(SegmentState state);

 private:
  struct Stream {
    std::uint64_t offset = 0;  // offset reached
    std::uint64_t recorded = 0;
    std::uint32_t crc = 0;  // CRC of the recorded bytes, valid if `whole`
    std::uint64_t lost_bytes = 0;
    // All records since the beginning of the connection were read, or a continued `open` gave the
    // state so far.
    bool whole = false;
    bool recorded_at_all = false;  // its `open` says that this side is recorded
    SideEnd ended = SideEnd::none;
  };
  struct Tracked {
    std::array<Stream, 2> streams;  // by Side
    bool introduced = false;        // its `open` was seen
    std::array<bool, 2> begun{};    // by Side: some record of it was seen
  };

  void open(const RecordHeader& header, std::span<const std::byte> payload, Tracked& connection,
            StreamEffect& effect);
  static void jump(std::uint64_t offset, Stream& stream, StreamEffect::Lost& lost);
  void advance(const RecordHeader& header, std::span<const std::byte> payload, Stream& stream,
               StreamEffect& effect);
  void end(const RecordHeader& header, Stream& stream, StreamEffect& effect);
  void close(const RecordHeader& header, std::span<const std::byte> payload, Tracked& connection,
             StreamEffect& effect);

  std::size_t most_connections_;
  std::unordered_map<std::uint64_t, Tracked> connections_;
  NumberSet closed_;  // ended connections that may be written again
  SegmentState state_ = SegmentState::sealed;
};

}  // namespace sluice::capture
