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

/// Puts records into blocks of a fixed budget, and plans which segment each block goes to. A block
/// is written when it is full or has waited for the flush interval. Belongs to one thread.
class RecordWriter final : private Timer {
 public:
  class Client : public SegmentWriter::Client {
   public:
    /// Durability::before_forward: the client must call flush_commit() at the end of this turn.
    virtual void commit_wanted() = 0;
    /// Adds one record per open connection, for the table at the start of a segment.
    virtual void list_connections(const SegmentTable::Add& add) = 0;

   protected:
    ~Client() = default;
  };

  RecordWriter(Reactor& reactor, Disk& disk, Store& store, const SegmentWriter::Options& options,
               Duration flush_interval, RecorderCounters& counters, Client& client);
  ~RecordWriter() override;
  /// Allocates blocks of `all_bytes` together. Fails with ENOMEM.
  [[nodiscard]] Result<> allocate(std::uint64_t all_bytes);

  /// The frame in which to put the payload of a data record; call recorded() afterwards. Null if
  /// there is no room.
  [[nodiscard]] FrameBuilder* frame_for_data();
  void recorded(std::size_t bytes);
  /// Appends a record of another kind. Returns false if there is no room.
  [[nodiscard]] bool append(const RecordHeader& header, std::span<const std::byte> payload);

  /// The payload bytes that certainly fit, in any number of records.
  [[nodiscard]] std::size_t room_bytes() const;
  [[nodiscard]] std::size_t all_bytes() const { return pool_.all_bytes(); }
  /// The sequence of the block that holds the last record.
  [[nodiscard]] std::uint64_t last_sequence() const;
  void make_durable(std::uint64_t sequence);
  /// Submits what is recorded so far for writing.
  void flush();
  /// The same, unless the useful number of commits is already in flight.
  void flush_commit();

  /// Ends the segment if it is at least this old. The next record begins another segment.
  void end_segment_older_than(Duration age);
  /// Whether the next record begins a segment.
  [[nodiscard]] bool segment_is_over() const { return segment_over_; }
  /// If nothing was submitted for `rest`, writes a checkpoint record with `header`. The header of
  /// its frame confirms the last commit.
  void checkpoint_after(Duration rest, const RecordHeader& header);
  /// Call after a segment was lost, so that the next one also lists every connection.
  void begin_again();

  // From SegmentWriter::Client.
  void block_written();
  void block_free(Block& block);

  /// Stops the timer and releases the blocks. The segments must be closed.
  void stop();

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
  Disk& disk_;
  Durability durability_;
  Duration flush_interval_;
  RecorderCounters& counters_;
  Client& client_;
  // writer_ follows pool_ and table_, so that its lists are destroyed before the blocks.
  BlockPool pool_;
  SegmentTable table_;
  SegmentWriter writer_;
  Block* current_ = nullptr;
  std::uint64_t sequence_ = 0;       ///< sequence of the last block that was submitted
  std::uint64_t checkpoint_ = 0;     ///< sequence of the block of the last checkpoint
  std::uint64_t planned_bytes_ = 0;  ///< bytes of this segment's frames so far
  TimePoint segment_began_;          ///< when its first block was submitted
  bool segment_over_ = false;        ///< the next block begins another segment
  bool flush_waits_ = false;         ///< a partial block waits for the disk, which is behind
  TimePoint last_submit_;
};

}  // namespace sluice::capture
