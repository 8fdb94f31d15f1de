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
/// A segment begins only once all of the previous one is durable. After an error, everything
/// unconfirmed can thus be written again, in order, to the next segment. Belongs to one thread.
/// Nothing may be in flight when it is destroyed: see close().
class SegmentWriter final : private FrameWriter::Client, private Timer {
 public:
  /// After the second failure in a row, a new segment is tried after kRetryPause. Each further
  /// failure doubles the pause, at most this many times, because each try leaves a segment behind.
  /// Any block that gets confirmed resets the count.
  static constexpr std::uint32_t kMostDoublings = 5;

  struct Options {
    Durability durability = Durability::batch;
    Duration sync_interval = std::chrono::seconds(1);  ///< for Durability::interval
    std::uint64_t segment_bytes = 256 << 20;           ///< at most; see Store::create()
    std::uint64_t kept_bytes = 32 << 20;  ///< limit of unconfirmed bytes; synced from half on
    std::string run;
    std::uint32_t worker = 0;
    std::string program;
  };

  /// Reports to the owner of the blocks, on the writer's thread.
  class Client {
   public:
    /// A block was written: unwritten() fell.
    virtual void block_written() = 0;
    /// `block` is no longer needed. Called in the order of submit().
    virtual void block_free(Block& block) = 0;
    /// durable_sequence() rose.
    virtual void durable_rose() = 0;
    /// Writing failed. The unconfirmed blocks will be written again to a new segment; the client
    /// must submit the table of that segment again after them. At Durability::none, blocks may
    /// already have been freed that never became durable: those from durable_sequence() to
    /// written_sequence().
    virtual void segment_lost(const Error& error) = 0;
    /// No new segment can be made. The writer tries again until it succeeds.
    virtual void segment_refused(const Error& error) = 0;
    /// Writing goes on after segment_refused().
    virtual void segment_granted() = 0;
    /// A segment could not be sealed; no durable data is lost. Or a lost segment could not be
    /// renamed to a suspect one; the writer tries again, and writes nothing until it succeeds.
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

  /// Begins to prepare the first segment.
  void start();
  /// Takes `block` until Client::block_free(). Its sequence must be one more than the previous
  /// block's.
  void submit(Block& block);
  /// Makes everything up to `sequence` durable soon, at every durability.
  void sync_to(std::uint64_t sequence);
  /// Seals the segment as soon as everything submitted is durable. Blocks submitted afterwards
  /// begin another segment.
  void end_segment_when_durable();
  /// Checks soon, on the background thread, that the segments are still in their directory. A
  /// segment that was removed fails, and the unconfirmed blocks are written again to another one.
  /// Call this at intervals.
  void look_after_segments();
  /// Writes what was submitted, seals the segment, then calls Client::closed(). Nothing may be
  /// submitted any more.
  void close();
  /// Drops what is not written, then closes as close() does. For a disk that does not recover.
  void give_up();

  /// All blocks up to this sequence are written, or durable.
  [[nodiscard]] std::uint64_t written_sequence() const { return frames_.written_sequence(); }
  [[nodiscard]] std::uint64_t durable_sequence() const { return frames_.durable_sequence(); }
  /// Whether more frames are durable than any written header says.
  [[nodiscard]] bool mark_is_news() const;
  /// The errno that tells why no segment can be written to; 0 if one can.
  [[nodiscard]] int refused() const;
  /// The number of blocks that were submitted and are not written yet.
  [[nodiscard]] std::size_t unwritten() const { return queue_.size() + frames_.in_flight(); }
  /// The bytes available for frames in the segment that the next block goes to: the segment's size,
  /// as far as it is known, without its first and last frame.
  [[nodiscard]] std::uint64_t segment_room_bytes() const;
  [[nodiscard]] std::size_t grid_bytes() const { return grid_bytes_; }

  struct Counts {
    std::uint64_t segments = 0;
    std::uint64_t failures = 0;
    FrameWriter::Counts frames;
  };
  [[nodiscard]] Counts counts() const {
    // Includes a segment that has failed but is not abandoned yet.
    return {segments_, failures_ + (frames_.failure() ? 1U : 0U), frames_.counts()};
  }

 private:
  enum class State : std::uint8_t {
    writing,
    segment_over,  ///< the current segment ends after what was submitted
    closing,       ///< everything ends after what was submitted
    giving_up,     ///< the same, but drops what is not written yet
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
  /// Whether nothing more will be written.
  [[nodiscard]] bool is_through() const { return state_ >= State::closing && queue_.empty(); }

  Reactor& reactor_;
  Disk& disk_;
  Store& store_;
  Options options_;
  Client& client_;
  State state_ = State::writing;
  std::size_t grid_bytes_;
  AlignedBuffer memory_;  ///< memory of first_ and of the footer
  Block first_;           ///< first block of each segment
  BlockList queue_;       ///< submitted, not yet in a segment
  FrameWriter frames_;
  NextSegment next_;
  EndingSegment ending_;
  CallingOperation<&SegmentWriter::looked_after> look_{*this};
  std::vector<std::uint64_t> gone_;  ///< removed segments; the background thread's during look_
  std::uint64_t sync_wanted_ = 0;
  std::uint32_t failures_in_a_row_ = 0;
  std::uint64_t segments_ = 0;
  std::uint64_t failures_ = 0;
};

}  // namespace sluice::capture
