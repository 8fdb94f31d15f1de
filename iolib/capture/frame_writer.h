#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/block.h"
#include "iolib/capture/policy.h"
#include "iolib/capture/segment.h"
#include "iolib/disk/disk.h"
#include "iolib/reactor/reactor.h"

namespace sluice::capture {

/// Writes frames to one segment after another, several at a time, and tracks which are written and
/// which are durable. Belongs to one thread. Nothing may be in flight when it is destroyed.
class FrameWriter final : private Operation {
 public:
  /// The most writes in flight. Enough to keep any single disk busy with blocks of 256 KiB or more.
  static constexpr std::size_t kDepth = 8;

  class Client {
   public:
    /// A block was written.
    virtual void block_written() = 0;
    /// `block` is no longer needed. Called in the order of write().
    virtual void block_free(Block& block) = 0;
    /// durable_sequence() rose.
    virtual void durable_rose() = 0;
    /// Called last after each completion, after all calls above.
    virtual void advanced() = 0;

   protected:
    ~Client() = default;
  };

  FrameWriter(Reactor& reactor, Disk& disk, Durability durability, std::size_t grid_bytes,
              Client& client)
      : reactor_(reactor),
        disk_(disk),
        durability_(durability),
        grid_bytes_(grid_bytes),
        client_(client),
        last_sync_(reactor.now()) {}

  /// The current segment; null if there is none.
  [[nodiscard]] const Segment* segment() const { return segment_ ? &*segment_ : nullptr; }
  /// Continues in `segment`. There must be no current segment.
  void begin(Segment segment);
  /// Writes `block` as the next frame. Keeps `block` until Client::block_free().
  void write(Block& block);
  /// Syncs everything that is written by now. No sync may be in flight.
  void sync();
  /// Marks the segment as failed: it must not be written or trusted any more.
  void fail(Error error);
  /// Hands over the segment. Requires all_durable().
  [[nodiscard]] Segment end();
  /// Hands over a segment that failed, and puts the unconfirmed blocks at the front of `queue`.
  /// Requires at_rest().
  [[nodiscard]] Segment retreat(BlockList& queue);

  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }
  [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
  [[nodiscard]] bool syncs() const { return Operation::in_flight(); }
  [[nodiscard]] bool at_rest() const { return in_flight_ == 0 && !syncs(); }
  /// Whether everything that was written is durable. At Durability::none, only after a sync.
  [[nodiscard]] bool all_durable() const;
  /// Whether a sync now would make something durable.
  [[nodiscard]] bool can_sync() const;
  /// The bytes that were written since the last sync began.
  [[nodiscard]] std::uint64_t unsynced_bytes() const {
    return written_.offset - sync_covers_.offset;
  }
  /// Memory in bytes of all blocks that this writer keeps.
  [[nodiscard]] std::uint64_t kept_bytes() const;
  /// All blocks up to this sequence are written, or durable.
  [[nodiscard]] std::uint64_t written_sequence() const { return written_.sequence; }
  [[nodiscard]] std::uint64_t durable_sequence() const { return durable_sequence_; }

  /// When the last successful sync ended; before the first, when this object was made.
  [[nodiscard]] TimePoint last_sync() const { return last_sync_; }

  /// Counts syncs and durable writes.
  struct Counts {
    std::uint64_t syncs = 0;
    Duration sync_time{};
    Duration longest_sync{};
  };
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  friend class Block;
  // A position up to which blocks, in order, have reached a state: in the chain and in its segment.
  struct Mark {
    std::uint64_t sequence = 0;
    std::uint64_t offset = 0;  ///< the end of the last of these frames
    std::uint32_t frames = 0;
  };

  void write_rest(Block& block);
  void block_done(Block& block, int result);
  void complete(const Completion& completion) override;
  void count_written();
  void count_sync(Duration time);
  void confirm(const Mark& mark);
  void release_until(std::uint64_t sequence);

  Reactor& reactor_;
  Disk& disk_;
  Durability durability_;
  std::size_t grid_bytes_;
  Client& client_;
  std::optional<Segment> segment_;
  std::optional<Error> failure_;
  BlockList writing_;  ///< being written; only blocks before the first of them count as written
  BlockList kept_;     ///< written, but not yet released; before those of writing_
  std::size_t in_flight_ = 0;
  Mark written_;
  Mark sync_covers_;
  TimePoint sync_began_;
  TimePoint last_sync_;
  std::uint64_t durable_sequence_ = 0;
  Counts counts_;
};

}  // namespace sluice::capture
