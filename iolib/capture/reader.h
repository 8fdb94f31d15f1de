#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "iolib/base/error.h"
#include "iolib/capture/capture_set.h"
#include "iolib/capture/segment_reader.h"
#include "iolib/capture/stream_tracker.h"

namespace sluice::capture {

struct Event {
  enum class Type : std::uint8_t {
    segment,      ///< a segment begins
    record,       ///< a good record
    finding,      ///< a finding; a lost one comes before the record that shows it
    segment_end,  ///< all of `segment` has been read
    wait,         ///< only if live: call next() again after update()
    end,
  };
  Type type = Type::end;
  const SegmentFile* segment = nullptr;  ///< valid as long as the reader
  std::uint64_t position = 0;            ///< record: file offset of its header
  RecordHeader header = {};
  std::span<const std::byte> payload = {};  ///< valid until the next call
  StreamEffect effect = {};
  Finding finding = {};

  /// data: the bytes that are new to the stream, and their offset there.
  [[nodiscard]] std::span<const std::byte> fresh() const {
    return effect.repeated ? std::span<const std::byte>()
                           : payload.subspan(static_cast<std::size_t>(effect.skip_bytes));
  }
  [[nodiscard]] std::uint64_t fresh_offset() const { return header.offset + effect.skip_bytes; }
};

/// Reads one chain from its first segment to its last. While the chain is being written, reads what
/// is there. Memory: one frame, and what StreamTracker keeps of open connections.
class ChainReader {
 public:
  using Opener = std::function<Result<std::unique_ptr<Source>>(SegmentFile&)>;
  struct Options {
    bool live = false;                          ///< wait for more while the chain is being written
    std::chrono::milliseconds reread_delay{0};  ///< see SegmentReader
    Opener open = open_segment;
    std::size_t most_connections = kMostConnections;  ///< open connections at a time
  };

  ChainReader(Chain chain, Options options);

  /// Returns the next event; after the last one always `end`. Fails if a file cannot be read; the
  /// error names the file.
  [[nodiscard]] Result<Event> next();
  /// Live: updates the reader to the chain as it is listed now.
  void update(const Chain& chain);

  /// The reader of the current segment, or of the one that has just ended; may be null.
  [[nodiscard]] const SegmentReader* segment_reader() const {
    return reader_ ? &*reader_ : nullptr;
  }

 private:
  [[nodiscard]] Result<> begin_segment();
  /// Whether segments are missing before `file`. If the retention has deleted them since the walk
  /// began, forgets all streams and returns false.
  [[nodiscard]] Result<bool> is_missing_before(const SegmentFile& file);
  [[nodiscard]] Result<Event> take(const SegmentEvent& from);
  [[nodiscard]] Event finding(Finding what) const;
  [[nodiscard]] Event next_queued();

  std::deque<SegmentFile> segments_;  // a deque, because its elements stay in place when it grows
  Options options_;
  StreamTracker tracker_;
  bool being_written_;
  std::size_t current_ = 0;
  std::optional<SegmentFile> before_;  // the segment that was read before
  std::unique_ptr<Source> source_;
  std::optional<SegmentReader> reader_;
  bool inside_ = false;
  bool given_up_ = false;  // the rest of this segment was written again in the next one
  std::deque<Event> queue_;
};

}  // namespace sluice::capture
