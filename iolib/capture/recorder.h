#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "iolib/base/owned_fd.h"
#include "iolib/capture/record_writer.h"
#include "iolib/capture/recorder_counters.h"
#include "iolib/capture/recording.h"
#include "iolib/reactor/deferral.h"
#include "iolib/reactor/reactor.h"

namespace sluice::capture {

struct RecorderOptions {
  SegmentWriter::Options segments;
  WhenFull when_full = WhenFull::block;
  std::uint64_t buffer_bytes = 32 << 20;
  Duration flush_interval = std::chrono::milliseconds(10);  ///< longest wait of a partial block
  Duration segment_time = std::chrono::seconds(60);
  bool exact = false;  ///< forward the recorded copy of the bytes
  /// At most this many connections that have ended wait for their last records to be written. More
  /// are counted as lost. Each costs a few hundred bytes.
  std::size_t most_pending = 65'536;
};

/// Records the connections of one thread into one chain of segments.
///
/// Belongs to its reactor's thread. It gets every byte in order through the taps of a Recording. It
/// may be destroyed only after close() is done: until then operations may be in flight.
class Recorder final : private RecordWriter::Client, private Timer, private Deferral {
 public:
  /// A tap that waits for room continues when there is this much room, or a quarter of all. To
  /// continue with less would cost many times more than it moves.
  static constexpr std::size_t kLeastAllowance = 128 << 10;

  /// Under WhenFull::block, one part in kSpillShare of the buffers is not made into blocks. It is
  /// for the bytes of receives that began while there was room and end when there is none.
  static constexpr std::size_t kSpillShare = 8;

  /// What the owner may want to log.
  enum class Event : std::uint8_t {
    disk_failed,
    segment_refused,
    segment_granted,
    seal_failed,
    behind,  ///< the disk made a connection wait during all of the last second, or bytes were
             ///< dropped because of it
    caught_up,
  };

  /// Makes a recorder, which borrows `reactor`, `disk` and `store`. Fails with ENOMEM, or if
  /// /dev/null cannot be opened.
  [[nodiscard]] static Result<std::unique_ptr<Recorder>> create(Reactor& reactor, Disk& disk,
                                                                Store& store,
                                                                const RecorderOptions& options);
  ~Recorder() override;

  void set_on_event(std::function<void(Event, const Error&)> on_event) {
    on_event_ = std::move(on_event);
  }

  /// Makes the first segment, which creates a file. Call it before the first open().
  void start() { records_.segments().start(); }
  /// Begins to record a connection. `connection` is unique in this run and not 0. The Recorder owns
  /// the Recording.
  [[nodiscard]] Recording& open(std::uint64_t connection, OpenInfo info,
                                const RecordingOptions& options);

  /// Writes everything, seals the segment, then calls `done`. Every Recording must have been
  /// closed. A recorder that was not started creates no file.
  void close(std::function<void()> done);
  /// While close() is in progress: drops what cannot be written now.
  void give_up() { records_.segments().give_up(); }

  /// Whether any connection is being recorded, or has records that wait to be written.
  [[nodiscard]] bool is_recording() const { return !recordings_.empty(); }

  [[nodiscard]] const RecorderCounters& counters() const { return counters_; }
  /// The number of the block that holds what was recorded last. Blocks are numbered in order.
  [[nodiscard]] std::uint64_t last_sequence() const { return records_.last_sequence(); }
  /// All blocks up to this number are durable.
  [[nodiscard]] std::uint64_t durable_sequence() const {
    return records_.segments().durable_sequence();
  }

 private:
  friend class Recording;
  friend class SideTap;
  // A side that waits until everything up to `sequence` is durable. Then its bytes below `offset`
  // may go.
  struct Gate {
    SideTap* tap;
    std::uint64_t sequence;
    std::uint64_t offset;
  };
  // Decides once a second whether the disk keeps pace.
  class Pace {
   public:
    /// A connection that waited continues.
    void moved() { held_up_ = false; }
    /// `waits`: a connection waits now. `dropped_bytes`: the total of bytes dropped for lack of
    /// room.
    [[nodiscard]] std::optional<Event> look(bool waits, std::uint64_t dropped_bytes);

   private:
    bool held_up_ = false;  ///< no waiting connection has continued since the last look
    bool behind_ = false;   ///< the disk was behind at the last look
    std::uint64_t dropped_bytes_ = 0;
  };

  Recorder(Reactor& reactor, Disk& disk, Store& store, const RecorderOptions& options);

  // For the taps.
  [[nodiscard]] std::size_t least_allowance() const;
  [[nodiscard]] GapReason why_no_room() const;
  void wait_for_room(SideTap& tap);
  [[nodiscard]] bool reserve_spill(SideTap& tap);
  void release_spill(SideTap& tap);
  void add_pending(Recording& recording);
  void add_gate(SideTap& tap, std::uint64_t sequence, std::uint64_t offset);
  void discard(Pipe& pipe);
  [[nodiscard]] RecordHeader header(Kind kind) const;
  void remove_if_finished(Recording& recording);

  // RecordWriter::Client
  void commit_wanted() override { soon(); }
  void list_connections(const SegmentTable::Add& add) override;
  void block_written() override { records_.block_written(); }
  void block_free(Block& block) override;
  void durable_rose() override { soon(); }
  void segment_lost(const Error& error) override;
  void segment_refused(const Error& error) override;
  void segment_granted() override { tell(Event::segment_granted, {}); }
  void seal_failed(const Error& error) override;
  void closed() override;
  // Timer: housekeeping.
  void expired() override;
  // Deferral: once in a turn, however many completions it brought.
  void deferred() override;

  void soon() { reactor_.defer(*this); }
  void open_gates();
  void use_room();
  [[nodiscard]] bool write_lost();
  void look_at_pace();
  void count_writer();
  void tell(Event event, const Error& error) const {
    if (on_event_) on_event_(event, error);
  }

  Reactor& reactor_;
  RecorderOptions options_;
  RecorderCounters counters_;
  RecordWriter records_;
  std::size_t free_spills_;  ///< receives that may still begin: see kSpillShare
  std::unordered_map<std::uint64_t, std::unique_ptr<Recording>> recordings_;
  Recording::List pending_;  ///< recordings with something that waits to be written
  SideTap::List waiting_;    ///< taps that wait for room
  std::deque<Gate> gates_;
  std::uint64_t lost_connections_ = 0;  ///< connections lost, but not yet recorded as lost
  Pace pace_;
  std::chrono::nanoseconds wall_offset_ = wall_offset();
  OwnedFd null_;
  std::function<void(Event, const Error&)> on_event_;
  std::function<void()> on_closed_;
};

}  // namespace sluice::capture
