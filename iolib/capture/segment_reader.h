#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "iolib/base/error.h"
#include "iolib/capture/format.h"
#include "iolib/capture/source.h"

namespace sluice::capture {

/// A stretch of a segment that is not good.
struct BadRange {
  std::uint64_t offset = 0;  ///< in the file
  std::uint64_t bytes = 0;   ///< 0 for what is missing at the end
  bool damage = false;       ///< it had been durable; otherwise it is a torn tail
  std::string_view what;     ///< in words
};

struct SegmentEvent {
  enum class Type : std::uint8_t {
    record,
    bad,
    wait,  ///< only while live: what follows is not there yet; ask again later
    end,   ///< of the segment, or of what is there: see unfinished()
  };
  Type type = Type::end;
  std::uint64_t position = 0;  ///< record: of its header in the file; the payload follows it
  RecordHeader header = {};
  std::span<const std::byte> payload = {};  ///< valid until the next call
  BadRange bad = {};
};

/// Walks one segment by the rules of FORMAT.md, "What is good, torn, damaged": every good record
/// once, in the order of the file, with its payload checked and understood, and every bad range.
/// Trusts nothing that it reads. Memory: what the source uses, and nothing besides.
class SegmentReader {
 public:
  struct Options {
    /// Somebody writes to the segment, if it is an open one: what is not good beyond the durable
    /// mark is not there yet, whatever follows it. The reader ends there.
    bool being_written = false;
    /// With `being_written`: waits there instead, and shows no record before a later frame says
    /// that it is durable, unless the segment was written at the level `none`; until settle() is
    /// called.
    bool live = false;
    /// How long after a bad tail of an open segment that nobody is known to write to it is read
    /// again, which is done a few times before it is believed.
    std::chrono::milliseconds reread_delay{0};
  };

  /// Borrows `source`.
  SegmentReader(Source& source, SegmentState state, Options options);

  /// The next event, `end` for ever after the last. Fails if the source cannot be read, or was
  /// written in a version that is not known.
  [[nodiscard]] Result<SegmentEvent> next();
  /// It is no longer being written, and ended up in this state.
  void settle(SegmentState state);

  // --- What was seen so far ---
  [[nodiscard]] std::uint64_t frames() const { return frames_; }
  /// The segment has ended, but more of it may come: it is being written.
  [[nodiscard]] bool unfinished() const { return unfinished_; }
  /// Where it reads: all before this offset is done with.
  [[nodiscard]] std::uint64_t offset() const { return frame_ ? frame_->offset : next_.offset; }

 private:
  static constexpr int kMostRereads = 3;
  // Where a frame is expected, and with which number.
  struct Place {
    std::uint64_t offset = 0;
    std::uint32_t number = 0;
  };
  struct Found {
    std::optional<FrameHeader> header;
    std::uint64_t nonzero_end = 0;  // of the last grid block skipped that is not zero
  };

  [[nodiscard]] Result<std::span<const std::byte>> bytes_at(std::uint64_t offset,
                                                            std::size_t bytes);
  [[nodiscard]] Result<std::optional<FrameHeader>> header_at(const Place& place, bool exact);
  [[nodiscard]] Result<std::optional<FrameHeader>> header_in(std::span<const std::byte> bytes,
                                                             const Place& place, bool exact);
  [[nodiscard]] Result<> look_ahead();
  [[nodiscard]] Result<Found> look_on(const Place& from);
  [[nodiscard]] Result<> survey();
  [[nodiscard]] Result<bool> ends_with_footer(const FrameHeader& header);

  [[nodiscard]] Result<std::optional<SegmentEvent>> begin_frame();
  [[nodiscard]] Result<std::optional<SegmentEvent>> skip_bad_frames();
  [[nodiscard]] Result<std::optional<SegmentEvent>> read_record();
  [[nodiscard]] Result<std::optional<SegmentEvent>> finish_frame();
  [[nodiscard]] SegmentEvent finish_segment();
  /// What is from here on is not there yet: waits, or ends.
  [[nodiscard]] SegmentEvent stop_here();
  /// Whether it is time to look what is behind a place that is waited for.
  [[nodiscard]] bool looks_behind(std::uint64_t offset);
  /// Forgets what was read, which may be older than what is there.
  [[nodiscard]] Result<std::optional<SegmentEvent>> read_again();
  void count_as_progress();
  /// The bad range at `offset`, which the reader goes on behind; or, first, nothing (it reads
  /// again) or `wait`.
  [[nodiscard]] Result<std::optional<SegmentEvent>> bad(std::uint64_t offset, std::uint64_t bytes,
                                                        std::string_view what);
  /// What is wrong behind the footer, once.
  [[nodiscard]] std::optional<SegmentEvent> behind_footer(std::uint64_t offset);
  [[nodiscard]] Result<> refresh_size();
  [[nodiscard]] bool being_written() const {
    return options_.being_written && state_ == SegmentState::open;
  }
  /// Whether the frame's records have to be waited for, as far as was seen.
  [[nodiscard]] bool holds_back() const {
    return waits() && !written_suffices_ && durable_frames_ <= frame_->number;
  }
  [[nodiscard]] bool waits() const { return options_.live && being_written(); }

  Source& source_;
  SegmentState state_;
  Options options_;
  std::uint64_t size_bytes_ = 0;  // when last asked
  bool size_is_old_ = true;
  std::optional<SegmentId> segment_;

  // What the source gave last.
  std::span<const std::byte> view_;
  std::uint64_t view_offset_ = 0;

  Place next_;  // the frame after the current one
  std::optional<FrameHeader> frame_;
  std::size_t at_ = 0;  // in the frame
  std::size_t bad_padding_ =
      0;  // so many bytes there belong to the record before, and are not zero
  std::uint32_t seed_ = 0;

  std::uint64_t frames_ = 0;
  std::uint32_t durable_frames_ = 0;
  bool footer_passed_ = false;  // by the walk ...
  bool footer_ahead_ = false;   // ... or seen by the survey
  bool surveyed_ = false;
  bool end_told_ = false;
  bool behind_footer_told_ = false;
  bool unfinished_ = false;
  bool written_suffices_ = false;  // nothing is made durable: the level is `none`
  Place ahead_;                    // live: where the headers that were looked at end
  int rereads_left_ = kMostRereads;
  bool rereading_ = false;                       // no good record or frame has come since
  std::optional<std::uint64_t> looked_at_ = {};  // bad offset that was read again
  std::uint64_t waits_at_ = 0;                   // bad offset that is waited for ...
  std::uint32_t waits_ = 0;                      // ... so many times
};

}  // namespace sluice::capture
