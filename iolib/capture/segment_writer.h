#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/aligned_buffer.h"
#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/block.h"
#include "iolib/capture/ending_segment.h"
#include "iolib/capture/frame_writer.h"
#include "iolib/capture/next_segment.h"
#include "iolib/capture/policy.h"
#include "iolib/capture/store.h"
#include "iolib/disk/disk.h"
#include "iolib/reactor/calling.h"
#include "iolib/reactor/reactor.h"

namespace sluice::capture {

/// Writes the blocks of one chain to its segments, in order.
///
/// A segment is begun only when all of the one before is durable, so that after an error whatever
/// is unconfirmed can be written again, in order, behind it. Belongs to one thread. Nothing may be
/// in flight when it is destroyed: see close().
class SegmentWriter final : private FrameWriter::Client, private Timer {
 public:
  /// After a second failure a new segment is tried after kRetryPause; after twice as long for each
  /// that follows without anything having been written, but no more often doubled than this: each
  /// try leaves a segment behind.
  static constexpr std::uint32_t kMostDoublings = 5;

  struct Options {
    Durability durability = Durability::batch;
    Duration sync_interval = std::chrono::seconds(1);  ///< of Durability::interval
    std::uint64_t segment_bytes = 256 << 20;           ///< at most: see Store::create()
    std::uint64_t kept_bytes =
        32 << 20;  ///< unconfirmed at most; from half of it on they are synced
    std::string run;
    std::uint32_t worker = 0;
    std::string program;
  };

  /// What the owner of the blocks is told, on the writer's thread.
  class Client {
   public:
    /// A block was written: unwritten() fell.
    virtual void block_written() = 0;
    /// `block` need not be kept any longer. In the order of submit().
    virtual void block_free(Block& block) = 0;
    /// durable_sequence() rose.
    virtual void durable_rose() = 0;
    /// Writing failed: what was not confirmed will be written again to a new segment. What a
    /// segment begins with must be submitted again behind it. At Durability::none blocks may have
    /// been let go that never became durable: those from durable_sequence() to written_sequence().
    virtual void segment_lost(const Error& error) = 0;
    /// No new segment is to be had; it is tried again until one is.
    virtual void segment_refused(const Error& error) = 0;
    /// Writing goes on after segment_refused().
    virtual void segment_granted() = 0;
    /// A segment could not be sealed, which loses nothing that was durable; or one that was lost
    /// could not be marked so, which is tried again, and until then nothing is written.
    virtual void seal_failed(const Error& error) = 0;
    /// After close(): nothing is in flight any more.
    virtual void closed() = 0;

   protected:
    ~Client() = default;
  };

  SegmentWriter(Reactor& reactor, Disk& disk, Store& store, Options options, Client& client);
  ~SegmentWriter() override;
  SegmentWriter(const SegmentWriter&) = delete;
  SegmentWriter& operator=(const SegmentWriter&) = delete;

  /// Has the first segment prepared.
  void start();
  /// Takes `block` until block_free(). Its sequence is one more than the last one's.
  void submit(Block& block);
  /// Makes all up to `sequence` durable soon, at any level.
  void sync_to(std::uint64_t sequence);
  /// Seals the segment as soon as all that was submitted is durable. What is submitted afterwards
  /// begins another one.
  void end_segment_when_durable();
  /// Sees to it, soon, that its segments are still in their directory: one that somebody removed
  /// fails, and what is unconfirmed is written again to another. To be called now and then.
  void look_after_segments();
  /// Writes what it has, seals the segment, and tells by Client::closed(). Nothing is submitted any
  /// more.
  void close();
  /// Gives up on what is not written; for a disk that does not come back. Then as close().
  void give_up();

  /// All blocks up to this one are written, or durable.
  [[nodiscard]] std::uint64_t written_sequence() const { return frames_.written_sequence(); }
  [[nodiscard]] std::uint64_t durable_sequence() const { return frames_.durable_sequence(); }
  /// More frames are durable than any header says.
  [[nodiscard]] bool mark_is_news() const;
  /// Why there is no segment that could be written to: an errno; or 0, if there is one.
  [[nodiscard]] int refused() const;
  /// Blocks that were submitted and are not written.
  [[nodiscard]] std::size_t unwritten() const { return queue_.size() + frames_.in_flight(); }
  /// What frames of the segment that the next block goes to may take up together: its size, as far
  /// as it is known, less its first and its last one.
  [[nodiscard]] std::uint64_t segment_room_bytes() const;
  [[nodiscard]] std::size_t grid_bytes() const { return grid_bytes_; }

  struct Counts {
    std::uint64_t segments = 0;
    std::uint64_t failures = 0;
    FrameWriter::Counts frames;
  };
  [[nodiscard]] Counts counts() const {
    // A segment that has failed counts before it is left.
    return {segments_, failures_ + (frames_.failure() ? 1U : 0U), frames_.counts()};
  }

 private:
  enum class State : std::uint8_t {
    writing,
    segment_over,  ///< the current segment ends with what was submitted
    closing,       ///< with what was submitted everything ends
    giving_up,     ///< the same, without what is not written yet
    closed,
  };

  // FrameWriter::Client
  void block_written() override { client_.block_written(); }
  void block_free(Block& block) override;
  void durable_rose() override { client_.durable_rose(); }
  void advanced() override { advance(); }
  // Timer
  void expired() override { advance(); }

  void advance();
  void go_to(State state);
  void place();
  [[nodiscard]] bool segment_ends() const;
  [[nodiscard]] bool ends_before(const Block& block) const;
  void begin_segment();
  void prepare();
  void next_changed(bool was_refused);
  void ended(const Result<>& done);
  [[nodiscard]] bool wants_sync();
  void looked_after(const Completion& completion);
  void retreat();
  void finish_closing();
  void wake_at(TimePoint time);
  /// Nothing more will be written.
  [[nodiscard]] bool is_through() const { return state_ >= State::closing && queue_.empty(); }

  Reactor& reactor_;
  Disk& disk_;
  Store& store_;
  Options options_;
  Client& client_;
  State state_ = State::writing;
  std::size_t grid_bytes_;
  AlignedBuffer memory_;  ///< of first_, and of the footer
  Block first_;           ///< of each segment
  BlockList queue_;       ///< submitted, not yet in a segment
  FrameWriter frames_;
  NextSegment next_;
  EndingSegment ending_;
  CallingOperation<&SegmentWriter::looked_after> look_{*this};
  std::vector<std::uint64_t> gone_;  ///< their numbers; the background thread's during look_
  std::uint64_t sync_wanted_ = 0;
  std::uint32_t failures_in_a_row_ = 0;
  std::uint64_t segments_ = 0;
  std::uint64_t failures_ = 0;
};

}  // namespace sluice::capture
