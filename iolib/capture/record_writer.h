#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/block_pool.h"
#include "iolib/capture/frame_builder.h"
#include "iolib/capture/recorder_counters.h"
#include "iolib/capture/segment_table.h"
#include "iolib/capture/segment_writer.h"
#include "iolib/reactor/reactor.h"

namespace sluice::capture {

/// Puts records into blocks of a fixed budget, plans which segment each goes to, and has them
/// written when they are full, or have waited for the flush interval. Belongs to one thread.
class RecordWriter final : private Timer {
 public:
  class Client : public SegmentWriter::Client {
   public:
    /// Durability::before_forward: flush_commit() is to be called at the end of this turn.
    virtual void commit_wanted() = 0;
    /// Adds a record for each connection that is alive, for what a segment begins with.
    virtual void list_connections(const SegmentTable::Add& add) = 0;

   protected:
    ~Client() = default;
  };

  RecordWriter(Reactor& reactor, Disk& disk, Store& store, const SegmentWriter::Options& options,
               Duration flush_interval, RecorderCounters& counters, Client& client);
  ~RecordWriter() override;
  /// Blocks of `all_bytes` together. Fails with ENOMEM.
  [[nodiscard]] Result<> allocate(std::uint64_t all_bytes, Disk& disk);

  /// Where the payload of a data record can be put, to be told by recorded() then; null if there is
  /// no room at all.
  [[nodiscard]] FrameBuilder* frame_for_data();
  void recorded(std::size_t bytes);
  /// Appends a record of another kind; false if there is no room.
  [[nodiscard]] bool append(const RecordHeader& header, std::span<const std::byte> payload);

  /// What surely fits, in as many records as it takes.
  [[nodiscard]] std::size_t room_bytes() const;
  [[nodiscard]] std::size_t all_bytes() const { return pool_.all_bytes(); }
  /// The block that holds what was recorded last.
  [[nodiscard]] std::uint64_t last_sequence() const;
  void make_durable(std::uint64_t sequence);
  /// Has what is recorded so far written.
  void flush();
  /// The same, unless as many commits are under way as are worth it.
  void flush_commit();

  /// Ends a segment of this age, whether anything more comes or not; the next one begins with what
  /// does.
  void end_segment_older_than(Duration age);
  /// The next record begins a segment.
  [[nodiscard]] bool segment_is_over() const { return segment_over_; }
  /// After so long a rest: has the last commit covered by a mark too.
  void checkpoint_after(Duration rest, const RecordHeader& header);
  /// After a segment was lost: the next one, too, names every connection.
  void begin_again();

  // From SegmentWriter::Client.
  void block_written();
  void block_free(Block& block);

  /// The segments are closed.
  void stop() { reactor_.cancel_timer(*this); }

  [[nodiscard]] SegmentWriter& segments() { return writer_; }
  [[nodiscard]] const SegmentWriter& segments() const { return writer_; }

 private:
  void expired() override;
  [[nodiscard]] bool take_block();
  [[nodiscard]] std::size_t blocks_before_table() const;
  void submit_block();
  void submit(Block& block);
  void write_table(bool begins_segment);
  void touched();
  void count_blocks() { counters_.blocks_in_use.set(pool_.used_blocks()); }

  Reactor& reactor_;
  Durability durability_;
  Duration flush_interval_;
  RecorderCounters& counters_;
  Client& client_;
  // Behind them, so that its lists go before the blocks.
  BlockPool pool_;
  SegmentTable table_;
  SegmentWriter writer_;
  Block* current_ = nullptr;
  std::uint64_t sequence_ = 0;       ///< of the last block submitted
  std::uint64_t checkpoint_ = 0;     ///< the block of the last one
  std::uint64_t planned_bytes_ = 0;  ///< of this segment's frames so far
  TimePoint segment_began_;          ///< when its first block was submitted
  bool segment_over_ = false;        ///< the next block begins another one
  bool flush_waits_ = false;         ///< for the disk, which is behind
  TimePoint last_submit_;
};

}  // namespace sluice::capture
