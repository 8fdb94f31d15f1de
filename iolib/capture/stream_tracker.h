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

/// As many connections are remembered at a time.
inline constexpr std::size_t kMostConnections = 1'000'000;

/// What a record does to its stream.
struct StreamEffect {
  struct Lost {
    std::uint64_t offset = 0;  ///< in the stream
    std::uint64_t bytes = 0;   ///< 0: nothing
  };
  bool repeated =
      false;  ///< says nothing new: written again after a disk error, or a gap of nothing
  std::uint64_t skip_bytes = 0;       ///< data, gap: so many of its first bytes are known already
  std::array<Lost, 2> lost = {};      ///< by Side: before it, bytes without a record
  std::array<bool, 2> mismatch = {};  ///< by Side, close: its checksum is not that of what was read
};

/// Numbers that mostly follow each other, as the ranges that they make; at most `most_ranges`, the
/// lowest are forgotten beyond.
class NumberSet {
 public:
  explicit NumberSet(std::size_t most_ranges) : most_ranges_(most_ranges) {}
  void insert(std::uint64_t number);
  [[nodiscard]] bool contains(std::uint64_t number) const;
  void clear() { ranges_.clear(); }

 private:
  std::size_t most_ranges_;
  std::map<std::uint64_t, std::uint64_t> ranges_;  // the first of each, and the last
};

/// The streams of one chain, by the rules of FORMAT.md, "Rules for the streams".
class StreamTracker {
 public:
  explicit StreamTracker(std::size_t most_connections = kMostConnections)
      : most_connections_(most_connections), closed_(most_connections) {}

  /// Takes the next good record of the chain; one of no stream has no effect. Fails beyond
  /// `most_connections` that have not ended.
  [[nodiscard]] Result<StreamEffect> take(const RecordHeader& header,
                                          std::span<const std::byte> payload);
  /// The records that follow are of a segment in this state. In one that is not sealed, connections
  /// that have ended may be written again in the next.
  void begin_segment(SegmentState state);

 private:
  struct Stream {
    std::uint64_t offset = 0;  // reached
    std::uint64_t recorded = 0;
    std::uint32_t crc = 0;  // of the recorded ones, if it is whole
    std::uint64_t lost_bytes = 0;
    // All since the connection's beginning was read, or what came before was told.
    bool whole = false;
    bool recorded_at_all = false;  // by its `open`: it is one of the sides recorded
    SideEnd ended = SideEnd::none;
  };
  struct Tracked {
    std::array<Stream, 2> streams;  // by Side
    bool introduced = false;        // its `open` was seen
    std::array<bool, 2> begun{};    // by Side: some record was
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
  NumberSet closed_;  // those that may be written again
  SegmentState state_ = SegmentState::sealed;
};

}  // namespace sluice::capture
