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

/// Writes frames to one segment after the other, many at a time, and knows which are written and
/// which are durable. Belongs to one thread. Nothing may be in flight when it is destroyed.
class FrameWriter final : private Operation {
 public:
  /// Writes in flight when busy; enough for any one disk at blocks of 256 KiB and more.
  static constexpr std::size_t kDepth = 8;

  class Client {
   public:
    /// A block was written.
    virtual void block_written() = 0;
    /// `block` need not be kept any longer. In the order of write().
    virtual void block_free(Block& block) = 0;
    /// durable_sequence() rose.
    virtual void durable_rose() = 0;
    /// After each completion, when all that follows from it was told.
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

  /// The segment that is written; null if there is none.
  [[nodiscard]] const Segment* segment() const { return segment_ ? &*segment_ : nullptr; }
  /// Goes on in `segment`. There is none.
  void begin(Segment segment);
  /// Takes `block` until Client::block_free(): it is the next frame.
  void write(Block& block);
  /// Makes all durable that is written by now. No sync is in flight.
  void sync();
  /// The segment cannot be written to any more, nor believed.
  void fail(Error error);
  /// Hands over the segment, all_durable().
  [[nodiscard]] Segment end();
  /// Hands over a segment that failed, at_rest(), and puts what is unconfirmed before `queue`.
  [[nodiscard]] Segment retreat(BlockList& queue);

  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }
  [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
  [[nodiscard]] bool syncs() const { return Operation::in_flight(); }
  [[nodiscard]] bool at_rest() const { return in_flight_ == 0 && !syncs(); }
  /// All that was written is durable. At Durability::none only once it was synced.
  [[nodiscard]] bool all_durable() const;
  /// A sync now would make something durable.
  [[nodiscard]] bool can_sync() const;
  /// Memory of all blocks that are kept.
  [[nodiscard]] std::uint64_t kept_bytes() const;
  /// All blocks up to this one are written, or durable.
  [[nodiscard]] std::uint64_t written_sequence() const { return written_.sequence; }
  [[nodiscard]] std::uint64_t durable_sequence() const { return durable_sequence_; }

  /// When the last sync ended that did not fail; before the first, when this was made.
  [[nodiscard]] TimePoint last_sync() const { return last_sync_; }

  /// Of syncs and durable writes.
  struct Counts {
    std::uint64_t syncs = 0;
    Duration sync_time{};
    Duration longest_sync{};
  };
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  friend class Block;
  // So far, in order, in the chain and in its segment.
  struct Mark {
    std::uint64_t sequence = 0;
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
  BlockList writing_;  ///< behind the first of them nothing counts as written
  BlockList kept_;     ///< before them: written, not yet released
  std::size_t in_flight_ = 0;
  Mark written_;
  Mark sync_covers_;
  TimePoint sync_began_;
  TimePoint last_sync_;
  std::uint64_t durable_sequence_ = 0;
  Counts counts_;
};

}  // namespace sluice::capture
