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

/// An irregularity that a reader reports.
struct Finding {
  enum class Severity : std::uint8_t {
    torn,    ///< unconfirmed data at the end of a run that ended before it could confirm it
    lost,    ///< bytes of a stream are missing and no record says so
    damage,  ///< data that was durable is not readable, or has changed
  };
  Severity severity = Severity::damage;
  std::uint64_t offset = 0;  ///< in the file; lost: of the record that shows it
  std::uint64_t bytes = 0;   ///< bad bytes, 0 if the end is missing; lost: missing stream bytes
  std::string_view what;
  // Only for lost, and for a checksum that does not match:
  std::uint64_t connection = 0;
  Side side = Side::client;
  std::uint64_t stream_offset = 0;
};

struct SegmentEvent {
  enum class Type : std::uint8_t {
    record,
    finding,  ///< torn or damage: a bad range
    wait,     ///< only if live: what follows is not there yet; call next() again later
    end,      ///< end of the segment, or of what is there: see unfinished()
  };
  Type type = Type::end;
  std::uint64_t position = 0;  ///< record: file offset of its header; the payload follows it
  RecordHeader header = {};
  std::span<const std::byte> payload = {};  ///< valid until the next call
  Finding finding = {};
};

/// Walks one segment by the rules of FORMAT.md, "What is good, torn, damaged". Reports every good
/// record once, in file order, after it has checked and decoded the payload, and every bad range.
/// Trusts nothing that it reads. Uses no memory besides the source's.
class SegmentReader {
 public:
  struct Options {
    /// The segment, if it is open, is being written: what is not good beyond the durable mark is
    /// not there yet, whatever follows it. The reader ends there.
    bool being_written = false;
    /// With `being_written`: the reader waits there instead, until left_as() is called. It shows a
    /// record only once a later frame says that it is durable, unless the segment was written at
    /// level `none`.
    bool live = false;
    /// A bad tail of an open segment that is not known to be written is read again a few times
    /// before it is reported. This is the time between the reads.
    std::chrono::milliseconds reread_delay{0};
  };

  /// Borrows `source`.
  SegmentReader(Source& source, SegmentState state, Options options);

  /// Returns the next event; after the last one always `end`. Fails if the source cannot be read,
  /// or was written in an unknown version.
  [[nodiscard]] Result<SegmentEvent> next();
  /// The writer has finished the segment, and left it in this state.
  void left_as(SegmentState state);

  // --- What was seen so far ---
  [[nodiscard]] std::uint64_t frames() const { return frames_; }
  /// The reader has reached the end, but the segment is still being written: more may come.
  [[nodiscard]] bool unfinished() const { return walk_ == Walk::unfinished; }
  /// The position of the reader: everything before this offset is done.
  [[nodiscard]] std::uint64_t offset() const {
    return frame_ ? frame_->header.offset : next_.offset;
  }

 private:
  static constexpr std::uint32_t kMostRereads = 3;

  // The state of the segment, and what it means that nothing good is found at a place.
  enum class State : std::uint8_t {
    sealed,         // what is not good is bad; so is an end without a footer
    suspect,        // what is not good is bad
    left_open,      // bad, if it is still not good after kMostRereads more reads
    being_written,  // not written yet: the reader ends there, unfinished
    followed,       // not written yet: the reader waits, also for records that are not durable yet
    followed_level_none,  // not written yet: the reader waits
  };
  enum class Walk : std::uint8_t {
    to_footer,
    footer_missing,  // reported, at the end
    behind_footer,
    more_behind_footer,  // reported: data follows the footer
    unfinished,          // ended, but more may come
  };
  // The result of a look at all headers that follow.
  enum class Survey : std::uint8_t { none, no_footer, footer };
  // Where a frame is expected, and its number.
  struct Place {
    std::uint64_t offset = 0;
    std::uint32_t number = 0;
  };
  struct Frame {
    FrameHeader header;
    std::uint32_t seed;                  // seed of its records' CRCs
    std::size_t at = kFrameHeaderBytes;  // where the next record is read
  };
  struct Found {
    std::optional<FrameHeader> header;
    std::uint64_t nonzero_end = 0;  // end of the last nonzero grid block that was skipped
  };
  // How often the place was found bad. In State::left_open: any place since the last good one.
  struct Tries {
    std::uint64_t offset = 0;
    std::uint32_t count = 0;
  };
  using Step = std::optional<SegmentEvent>;

  [[nodiscard]] static State state_of(SegmentState state, const Options& options);
  [[nodiscard]] bool being_written() const { return state_ >= State::being_written; }
  [[nodiscard]] bool waits() const { return state_ >= State::followed; }
  [[nodiscard]] bool footer_passed() const {
    return walk_ == Walk::behind_footer || walk_ == Walk::more_behind_footer;
  }
  /// Whether the frame's records must be held back, because no header seen so far says that they
  /// are durable.
  [[nodiscard]] bool holds_back() const {
    return state_ == State::followed && durable_frames_ <= frame_->header.number;
  }

  [[nodiscard]] std::optional<FrameHeader> header_at(const Place& place, bool exact,
                                                     std::size_t read_bytes = kMaxFrameBytes);
  void look_ahead();
  [[nodiscard]] Found look_on(const Place& from);
  void survey();
  [[nodiscard]] bool has_footer(const FrameHeader& header);

  // Each returns what next() must return, or nothing if another step follows.
  [[nodiscard]] Step step();
  [[nodiscard]] Step begin_frame();
  [[nodiscard]] Step skip_bad_frames();
  [[nodiscard]] Step read_record();
  [[nodiscard]] Step finish_frame();
  [[nodiscard]] SegmentEvent finish_segment();
  /// Nothing more is there yet: waits or ends.
  [[nodiscard]] SegmentEvent stop_here();
  /// Reports `range` and continues at `after`. Before it trusts the finding, it may read again
  /// (returns nothing) or wait.
  [[nodiscard]] Step bad(Finding range, const Place& after);
  /// Reports once that data follows the footer.
  [[nodiscard]] Step behind_footer(std::uint64_t offset);
  [[nodiscard]] Step read_again();
  [[nodiscard]] std::uint32_t try_at(std::uint64_t offset);
  [[nodiscard]] bool looks_behind(std::uint64_t offset);

  SourceView view_;
  std::chrono::milliseconds reread_delay_;
  State state_;
  Walk walk_ = Walk::to_footer;
  Survey survey_ = Survey::none;
  std::optional<SegmentId> segment_;
  Place next_;  // the frame after the current one
  std::optional<Frame> frame_;
  std::uint64_t frames_ = 0;
  std::uint32_t durable_frames_ = 0;
  Place ahead_;  // followed: the end of the headers that were looked at
  Tries tries_;
};

}  // namespace sluice::capture
