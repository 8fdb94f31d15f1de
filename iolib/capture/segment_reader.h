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

/// Something that is not as it should be.
struct Finding {
  enum class Severity : std::uint8_t {
    torn,    ///< the tail of what a run wrote that ended before it could confirm it
    lost,    ///< bytes of a stream are missing, without a record
    damage,  ///< what had been durable is not readable, or not what it was
  };
  Severity severity = Severity::damage;
  std::uint64_t offset = 0;  ///< in the file; lost: of the record that shows it
  std::uint64_t bytes = 0;   ///< there, 0 for what is missing at the end; lost: of the stream
  std::string_view what;
  // lost, and what does not match:
  std::uint64_t connection = 0;
  Side side = Side::client;
  std::uint64_t stream_offset = 0;
};

struct SegmentEvent {
  enum class Type : std::uint8_t {
    record,
    finding,  ///< torn or damage: a stretch that is not good
    wait,     ///< only while live: what follows is not there yet; ask again later
    end,      ///< of the segment, or of what is there: see unfinished()
  };
  Type type = Type::end;
  std::uint64_t position = 0;  ///< record: of its header in the file; the payload follows it
  RecordHeader header = {};
  std::span<const std::byte> payload = {};  ///< valid until the next call
  Finding finding = {};
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
    /// that it is durable, unless the segment was written at the level `none`; until left_as() is
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
  /// Its writer is done with it, and has left it in this state.
  void left_as(SegmentState state);

  // --- What was seen so far ---
  [[nodiscard]] std::uint64_t frames() const { return frames_; }
  /// The segment has ended, but more of it may come: it is being written.
  [[nodiscard]] bool unfinished() const { return walk_ == Walk::unfinished; }
  /// Where it reads: all before this offset is done with.
  [[nodiscard]] std::uint64_t offset() const {
    return frame_ ? frame_->header.offset : next_.offset;
  }

 private:
  static constexpr std::uint32_t kMostRereads = 3;

  // How the segment is written, and so what it means that nothing good is at some place.
  enum class State : std::uint8_t {
    sealed,               // bad; so is an end without a footer
    suspect,              // bad
    left_open,            // bad, if it still is after kMostRereads more looks
    being_written,        // not written yet: the reader ends there, unfinished
    followed,             // not written yet: the reader waits, and also until it is durable
    followed_level_none,  // not written yet: the reader waits
  };
  enum class Walk : std::uint8_t {
    to_footer,
    footer_missing,  // reported, at the end
    behind_footer,
    more_behind_footer,  // reported: something follows the footer
    unfinished,          // ended, for more may come
  };
  // What a look at all headers that follow has found.
  enum class Survey : std::uint8_t { none, no_footer, footer };
  // Where a frame is expected, and with which number.
  struct Place {
    std::uint64_t offset = 0;
    std::uint32_t number = 0;
  };
  struct Frame {
    FrameHeader header;
    std::uint32_t seed;                  // of its records
    std::size_t at = kFrameHeaderBytes;  // where it is read
  };
  struct Found {
    std::optional<FrameHeader> header;
    std::uint64_t nonzero_end = 0;  // of the last grid block skipped that is not zero
  };
  // How often the place was found bad; State::left_open: any place, since the last good one.
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
  /// Whether the frame's records have to be waited for, as far as was seen.
  [[nodiscard]] bool holds_back() const {
    return state_ == State::followed && durable_frames_ <= frame_->header.number;
  }

  [[nodiscard]] std::optional<FrameHeader> header_at(const Place& place, bool exact,
                                                     std::size_t read_bytes = kMaxFrameBytes);
  void look_ahead();
  [[nodiscard]] Found look_on(const Place& from);
  void survey();
  [[nodiscard]] bool has_footer(const FrameHeader& header);

  // Each returns what next() is to return, or nothing: then another step follows.
  [[nodiscard]] Step step();
  [[nodiscard]] Step begin_frame();
  [[nodiscard]] Step skip_bad_frames();
  [[nodiscard]] Step read_record();
  [[nodiscard]] Step finish_frame();
  [[nodiscard]] SegmentEvent finish_segment();
  /// What is from here on is not there yet: waits, or ends.
  [[nodiscard]] SegmentEvent stop_here();
  /// Reports `range` and goes on at `after`; or, before it is believed, reads again (nothing) or
  /// waits.
  [[nodiscard]] Step bad(Finding range, const Place& after);
  /// Reports once that something follows the footer.
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
  Place ahead_;  // followed: where the headers that were looked at end
  Tries tries_;
};

}  // namespace sluice::capture
