#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "iolib/base/aligned_buffer.h"
#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/frame_builder.h"
#include "iolib/capture/policy.h"
#include "iolib/capture/store.h"
#include "iolib/disk/disk.h"
#include "iolib/reactor/reactor.h"

namespace sluice::capture {

class SegmentWriter;

/// One frame: while its owner fills it, while it is written, and until it need not be kept.
class Block final : private Operation {
 public:
  /// Borrows `buffer`: a multiple of the grid, at most kMaxFrameBytes.
  explicit Block(std::span<std::byte> buffer = {}) : buffer_(buffer), builder(buffer) {}
  void set_buffer(std::span<std::byte> buffer) {
    buffer_ = buffer;
    reset();
  }

  /// Empty again.
  void reset() {
    builder = FrameBuilder(buffer_);
    data_bytes = 0;
    begins_segment = false;
  }

 private:
  std::span<std::byte> buffer_;

 public:
  FrameBuilder builder;
  std::uint64_t sequence = 0;    ///< rises by one from block to block, in the order of submit()
  std::uint64_t data_bytes = 0;  ///< payload of data records
  bool begins_segment = false;   ///< the segment before ends here

 private:
  friend class SegmentWriter;
  void complete(const Completion& completion) override;

  SegmentWriter* writer_ = nullptr;
  std::span<const std::byte> frame_;  ///< what is left to be written
  std::uint64_t position_ = 0;        ///< of frame_ in the file
  std::uint32_t number_ = 0;          ///< of the frame
  TimePoint began_;                   ///< a durable write
  std::uint8_t tries_ = 0;
  bool written_ = false;
};

/// Writes the frames of one chain to its segments, many at a time, and knows which are durable.
///
/// A segment is begun only when all of the one before is durable, so that after an error whatever
/// is unconfirmed can be written again, in order, behind it. Belongs to one thread. Nothing may be
/// in flight when it is destroyed: see close().
class SegmentWriter {
 public:
  /// Writes in flight when busy; enough for any one disk at blocks of 256 KiB and more.
  static constexpr std::size_t kDepth = 8;
  /// After a failure, how long until a new segment is tried; twice as long after each that follows
  /// without anything having been written, 32 s at most: each try leaves a segment behind.
  static constexpr Duration kRetryPause = std::chrono::seconds(1);
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
  ~SegmentWriter();
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
  [[nodiscard]] std::uint64_t written_sequence() const { return written_sequence_; }
  [[nodiscard]] std::uint64_t durable_sequence() const { return durable_sequence_; }
  /// More frames are durable than any header says.
  [[nodiscard]] bool mark_is_news() const;
  /// Why there is no segment that could be written to: an errno; or 0, if there is one.
  [[nodiscard]] int refused() const { return current_ || next_ ? 0 : refused_; }
  /// Blocks that were submitted and are not written.
  [[nodiscard]] std::size_t unwritten() const { return queue_.size() + in_flight_; }
  /// What frames of the segment that the next block goes to may take up together: its size, as far
  /// as it is known, less its first and its last one.
  [[nodiscard]] std::uint64_t segment_room_bytes() const;
  [[nodiscard]] std::size_t grid_bytes() const { return grid_bytes_; }

  struct Counts {
    std::uint64_t segments = 0;
    std::uint64_t failures = 0;
    std::uint64_t syncs = 0;  ///< and durable writes
    Duration sync_time{};
    Duration longest_sync{};
  };
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  struct Segment {
    int file = -1;
    SegmentName name;
    SegmentId id{};
    std::uint64_t size_bytes = 0;  ///< allocated
    std::uint64_t offset = 0;
    std::uint64_t data_bytes = 0;
    std::uint32_t frames = 0;
    std::uint32_t durable_frames = 0;
    std::uint32_t published_frames = 0;  ///< durable frames of the last header
  };
  // A completion that calls a member.
  class Call final : public Operation {
   public:
    Call(SegmentWriter& writer, void (SegmentWriter::*function)(int))
        : writer_(writer), function_(function) {}

   private:
    void complete(const Completion& completion) override {
      (writer_.*function_)(completion.result);
    }
    SegmentWriter& writer_;
    void (SegmentWriter::*function_)(int);
  };
  class Tick final : public Timer {
   public:
    explicit Tick(SegmentWriter& writer) : writer_(writer) {}

   private:
    void expired() override { writer_.advance(); }
    SegmentWriter& writer_;
  };
  friend class Block;

  void advance();
  void place();
  void prepare();
  void prepared(int result);
  [[nodiscard]] bool ends_before(const Block& block) const;
  void begin_segment();
  void write_first_frame();
  void place_block(Block& block);
  void write(Block& block);
  void block_done(Block& block, int result);
  void count_written();
  [[nodiscard]] bool wants_sync();
  void sync();
  void synced(int result);
  void count_sync(Duration time);
  void confirm(std::uint64_t sequence, std::uint32_t frames);
  void release_until(std::uint64_t sequence);
  void fail(Error error);
  void retreat();
  void abandon();
  [[nodiscard]] bool try_to_abandon();
  void looked_after(int result);
  void replace_next();
  void end_segment(SegmentEnd why);
  [[nodiscard]] Result<> seal(Segment& segment, SegmentEnd why);
  void ended(int result);
  void finish_closing();
  void wake_at(TimePoint time);
  [[nodiscard]] bool all_durable() const;
  [[nodiscard]] bool at_rest() const { return in_flight_ == 0 && !sync_.in_flight(); }

  Reactor& reactor_;
  Disk& disk_;
  Store& store_;
  Options options_;
  Client& client_;
  std::size_t grid_bytes_;
  std::deque<Block*> queue_;   ///< submitted, not yet placed
  std::deque<Block*> placed_;  ///< in the current segment, not yet released
  std::size_t written_ = 0;    ///< so many of placed_ are written, counted from its front
  std::size_t in_flight_ = 0;
  std::uint64_t written_sequence_ = 0;
  std::uint32_t written_frames_ = 0;
  std::uint64_t durable_sequence_ = 0;
  std::uint64_t sync_wanted_ = 0;
  std::uint64_t sync_covers_ = 0;
  std::uint32_t sync_covers_frames_ = 0;
  TimePoint sync_began_;
  TimePoint last_sync_;
  Call sync_{*this, &SegmentWriter::synced};
  std::unique_ptr<Segment> current_;
  std::unique_ptr<Segment> next_;
  std::uint64_t next_number_ = 0;
  std::uint64_t granted_bytes_;  ///< the size of the last one that was prepared
  AlignedBuffer first_buffer_;
  AlignedBuffer footer_buffer_;  ///< of ending_: a lack of memory is no reason to give one up
  Block first_;
  // Filled by the background thread while prepare_ is in flight.
  std::unique_ptr<Segment> prepared_;
  std::optional<Error> prepare_error_;
  Call prepare_{*this, &SegmentWriter::prepared};
  std::atomic<bool> not_needed_{false};  ///< what is being prepared, at the end
  // The same for the segment that is being sealed or abandoned.
  std::unique_ptr<Segment> ending_;
  std::optional<Error> end_error_;
  Call end_{*this, &SegmentWriter::ended};
  // The same for the look at both segments: the numbers of those that are gone.
  std::vector<std::uint64_t> gone_;
  Call look_{*this, &SegmentWriter::looked_after};
  std::optional<Error> failure_;
  std::uint32_t failures_in_a_row_ = 0;
  TimePoint not_before_;  ///< of preparing
  Tick tick_{*this};
  int refused_ = 0;  ///< why the last preparation failed
  bool rotating_ = false;
  bool over_ = false;        ///< current_ ends with what was submitted
  bool abandoning_ = false;  ///< ending_ failed, and has not got its name yet
  TimePoint abandon_at_;     ///< when that is tried again
  bool closing_ = false;
  bool gave_up_ = false;
  bool closed_ = false;
  Counts counts_;
};

}  // namespace sluice::capture
