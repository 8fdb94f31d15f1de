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
    segment,      ///< one begins
    record,       ///< a good one
    finding,      ///< a lost one comes before the record that shows it
    segment_end,  ///< `segment` has been read
    wait,         ///< only while live: ask again after update()
    end,
  };
  Type type = Type::end;
  const SegmentFile* segment = nullptr;  ///< stays valid as long as the reader
  std::uint64_t position = 0;            ///< record: of its header in the file
  RecordHeader header = {};
  std::span<const std::byte> payload = {};  ///< valid until the next call
  StreamEffect effect = {};
  Finding finding = {};

  /// data: what is new to the stream, and its offset there.
  [[nodiscard]] std::span<const std::byte> fresh() const {
    return effect.repeated ? std::span<const std::byte>()
                           : payload.subspan(static_cast<std::size_t>(effect.skip_bytes));
  }
  [[nodiscard]] std::uint64_t fresh_offset() const { return header.offset + effect.skip_bytes; }
};

/// Reads one chain from its first segment to its last; while it is being written, up to what is
/// there. Memory: one frame, and what StreamTracker keeps of live connections.
class ChainReader {
 public:
  using Opener = std::function<Result<std::unique_ptr<Source>>(SegmentFile&)>;
  struct Options {
    bool live = false;                          ///< waits for more while it is being written
    std::chrono::milliseconds reread_delay{0};  ///< see SegmentReader
    Opener open = open_segment;
    std::size_t most_connections = kMostConnections;  ///< at a time
  };

  ChainReader(Chain chain, Options options);

  /// The next event, `end` for ever after the last. Fails, with the file's name, if one cannot be
  /// read.
  [[nodiscard]] Result<Event> next();
  /// Live: the chain as it is listed now.
  void update(const Chain& chain);

  /// Of the current segment, or the one that has just ended; may be null.
  [[nodiscard]] const SegmentReader* segment_reader() const {
    return reader_ ? &*reader_ : nullptr;
  }

 private:
  [[nodiscard]] Result<> begin_segment();
  /// Whether segments are missing before `file`; if retention has deleted them since the walk
  /// began, begins anew with it.
  [[nodiscard]] Result<bool> is_missing_before(const SegmentFile& file);
  [[nodiscard]] Result<Event> take(const SegmentEvent& from);
  [[nodiscard]] Event finding(Finding what) const;
  [[nodiscard]] Event next_queued();

  std::deque<SegmentFile> segments_;  // keeps its elements' places when it grows
  Options options_;
  StreamTracker tracker_;
  bool being_written_;
  std::size_t current_ = 0;
  std::optional<SegmentFile> before_;  // the last one that was read
  std::unique_ptr<Source> source_;
  std::optional<SegmentReader> reader_;
  bool inside_ = false;
  bool given_up_ = false;  // the rest of this segment was written again in the next
  std::deque<Event> queue_;
};

}  // namespace sluice::capture
