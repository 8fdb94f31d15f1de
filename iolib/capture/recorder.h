#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "iolib/base/aligned_buffer.h"
#include "iolib/base/owned_fd.h"
#include "iolib/capture/recording.h"
#include "iolib/capture/segment_writer.h"
#include "iolib/reactor/reactor.h"

namespace sluice::capture {

struct RecorderOptions {
  SegmentWriter::Options segments;
  WhenFull when_full = WhenFull::block;
  std::uint64_t buffer_bytes = 32 << 20;
  Duration flush_interval = std::chrono::milliseconds(10);  ///< how long a partial block waits
  Duration segment_time = std::chrono::seconds(60);
  bool exact = false;  ///< what is forwarded is the recorded copy
  /// At most so many connections that have ended wait for their last records to be written; what is
  /// beyond is counted as lost. Each costs a few hundred bytes.
  std::size_t most_unsettled = 65'536;
};

/// What is counted: written by the recorder's thread, read by any.
struct RecorderCounters {
  using Count = std::atomic<std::uint64_t>;
  Count recorded_bytes{0};
  std::array<Count, 6> dropped_bytes{};  ///< by GapReason
  Count lag_bytes{0};  ///< recorded and not yet on the disk as the durability asks
  Count blocks_in_use{0};
  Count segments{0};
  Count disk_failures{0};
  Count segments_refused{0};  ///< segments that could not be made, the disk being full or broken
  Count seal_failures{0};
  Count lost_connections{0};
  Count syncs{0};
  Count sync_ns{0};
  Count longest_sync_ns{0};
};

/// Records the connections of one thread into one chain of segments.
///
/// Belongs to its reactor's thread. Every byte goes to it through the taps of a Recording, in
/// order; nothing is in flight any more once close() is done, and it may be destroyed only then.
class Recorder final : private SegmentWriter::Client {
 public:
  /// Blocks are of this size, or smaller, so that there are at least kLeastBlocks of them.
  static constexpr std::size_t kLargestBlock = kMaxFrameBytes;
  static constexpr std::size_t kLeastBlocks = 8;
  /// Who waits for room goes on when there is this much of it, or a quarter of all: little by
  /// little would cost many times more than it moves.
  static constexpr std::size_t kLeastAllowance = 128 << 10;

  /// Under WhenFull::block, this part of the buffers is not made into blocks: it is for what
  /// receives bring that were begun when there was room, and end when there is none.
  static constexpr std::size_t kSpillShare = 8;

  /// What its owner may want to log.
  enum class Event : std::uint8_t {
    disk_failed,
    segment_refused,
    segment_granted,
    seal_failed,
    behind,  ///< the disk held somebody up all the last second, or bytes were dropped for it
    caught_up,
  };

  /// Fails with ENOMEM.
  [[nodiscard]] static Result<std::unique_ptr<Recorder>> create(Reactor& reactor, Disk& disk,
                                                                Store& store,
                                                                const RecorderOptions& options);
  ~Recorder();

  void set_on_event(std::function<void(Event, const Error&)> on_event) {
    on_event_ = std::move(on_event);
  }

  /// Makes the first segment, which leaves a file behind. Before the first open().
  void start();
  /// Begins to record a connection. `connection` is unique in this run, and not 0.
  [[nodiscard]] Recording& open(std::uint64_t connection, OpenInfo info,
                                const RecordingOptions& options);

  /// Writes everything, seals the segment, then calls `done`. Every Recording was closed.
  void close(std::function<void()> done);
  /// While close() is under way: what cannot be written now is lost.
  void give_up() { writer_.give_up(); }

  [[nodiscard]] const RecorderCounters& counters() const { return counters_; }
  /// What was recorded last is in the block of this number; blocks are numbered in order.
  [[nodiscard]] std::uint64_t last_sequence() const;
  /// All blocks up to this one are durable.
  [[nodiscard]] std::uint64_t durable_sequence() const { return writer_.durable_sequence(); }

 private:
  friend class Recording;
  friend class SideTap;
  using Timed = void (Recorder::*)();
  class Chore final : public Timer {
   public:
    Chore(Recorder& recorder, Timed work) : recorder_(recorder), work_(work) {}

   private:
    void expired() override { (recorder_.*work_)(); }
    Recorder& recorder_;
    Timed work_;
  };
  // A side that waits until everything up to `sequence` is durable.
  struct Gate {
    SideTap* tap;
    std::uint64_t sequence;
    std::uint64_t offset;
  };

  Recorder(Reactor& reactor, Disk& disk, Store& store, const RecorderOptions& options);
  [[nodiscard]] Result<> allocate(Disk& disk);

  // For the taps.
  [[nodiscard]] FrameBuilder* frame_for_data();
  [[nodiscard]] bool append(const RecordHeader& header, std::span<const std::byte> payload);
  void recorded(std::size_t bytes);
  void dropped(GapReason reason, std::uint64_t bytes);
  [[nodiscard]] std::size_t room_bytes() const;
  [[nodiscard]] std::size_t least_allowance() const {
    return std::min(kLeastAllowance, buffer_.bytes().size() / 4);
  }
  [[nodiscard]] GapReason why_no_room() const;
  void wait_for_room(SideTap& tap);
  [[nodiscard]] bool reserve_spill(SideTap& tap);
  void release_spill(SideTap& tap);
  void unsettled(Recording& recording);
  void add_gate(SideTap& tap, std::uint64_t sequence, std::uint64_t offset);
  void make_durable(std::uint64_t sequence);
  void discard(Pipe& pipe);
  [[nodiscard]] RecordHeader stamp(Kind kind) const;
  void remove_if_finished(Recording& recording);

  // Blocks.
  [[nodiscard]] bool take_block();
  [[nodiscard]] std::size_t blocks_before_table() const;
  void submit_block();
  void submit(Block& block);
  void write_table(bool begins_segment);
  void touched();

  // SegmentWriter::Client
  void block_written() override;
  void block_free(Block& block) override;
  void durable_rose() override { soon(); }
  void segment_lost(const Error& error) override;
  void segment_refused(const Error& error) override;
  void segment_granted() override { tell(Event::segment_granted, {}); }
  void seal_failed(const Error& error) override;
  void closed() override;

  void soon() { reactor_.set_timer(soon_, reactor_.now()); }
  void work();
  void open_gates();
  void use_room();
  void flush();
  void flush_in_time();
  void keep_house();
  void end_old_segment();
  [[nodiscard]] bool write_lost();
  void look_at_pace();
  void read_clocks();
  void count_writer();
  void tell(Event event, const Error& error) const {
    if (on_event_) on_event_(event, error);
  }

  Reactor& reactor_;
  RecorderOptions options_;
  std::size_t free_spills_;  ///< so many more receives may be under way: see kSpillShare
  std::size_t block_bytes_;
  AlignedBuffer buffer_;
  std::vector<Block> blocks_;
  std::vector<Block*> free_;
  std::vector<std::unique_ptr<OwnedBlock>> table_blocks_;
  SegmentWriter writer_;  ///< behind the blocks, which its lists must not outlive
  Block* current_ = nullptr;
  std::uint64_t sequence_ = 0;       ///< of the last block submitted
  std::uint64_t checkpoint_ = 0;     ///< the block of the last one
  std::uint64_t table_begin_ = 0;    ///< the first block of the last table
  std::uint64_t planned_bytes_ = 0;  ///< of this segment's frames so far
  TimePoint segment_began_;          ///< when its first block was submitted
  bool flush_waits_ = false;         ///< for the disk, which is behind
  bool segment_over_ = false;        ///< the next block begins another one
  TimePoint last_submit_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Recording>> recordings_;
  std::deque<Recording*> unsettled_;
  std::deque<SideTap*> waiting_;
  std::deque<Gate> gates_;
  std::uint64_t lost_connections_ = 0;  ///< not yet recorded
  bool held_up_ = false;                ///< nobody went on since the last look at who waits
  bool behind_ = false;                 ///< at the last look
  std::uint64_t dropped_before_ = 0;    ///< for want of room, at the last look
  std::int64_t wall_offset_ns_ = 0;     ///< wall clock less monotonic
  OwnedFd null_;
  Chore soon_{*this, &Recorder::work};
  Chore flush_{*this, &Recorder::flush_in_time};
  Chore housekeeping_{*this, &Recorder::keep_house};
  std::function<void(Event, const Error&)> on_event_;
  std::function<void()> on_closed_;
  RecorderCounters counters_;
};

}  // namespace sluice::capture
