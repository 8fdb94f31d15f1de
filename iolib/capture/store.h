#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/format.h"
#include "iolib/disk/volume.h"

namespace sluice::capture {

/// What is kept of a capture.
struct Retention {
  std::uint64_t size_bytes = 0;  ///< of all sealed segments; 0: no bound
  Duration age{};                ///< of a segment since it was sealed; 0: no bound
};

/// The segments of one directory, which several recorders write: finds names, seals, deletes what
/// is too much or too old, and sees to what a crash left. All calls may block; any thread.
class Store {
 public:
  /// Bytes a second: several times what before-forward writes, and a part of what disks can do.
  static constexpr std::uint64_t kZeroingRate = 512 << 20;
  /// A segment holds a few of the largest frames, however short space is.
  static constexpr std::uint64_t kSmallestBytes = 4 << 20;

  /// `zeroing_rate` is for volumes in memory, which nobody else has to share.
  Store(Volume& volume, const Retention& retention, std::uint64_t zeroing_rate = kZeroingRate)
      : volume_(volume), retention_(retention), zeroing_rate_(zeroing_rate) {}

  /// Ages are counted by the second: a step of the wall clock makes nothing older. The first says
  /// how old those are that recover() finds.
  struct Time {
    std::int64_t wall_ns = 0;
    std::int64_t boot_ns = 0;  ///< since the machine started, asleep or not
  };
  /// Another clock. Before the first call.
  void set_clock(std::function<Time()> clock) { clock_ = std::move(clock); }

  /// Too much, too old, or earlier than the retention asks, since the disk is full.
  enum class Reason : std::uint8_t { size, age, room };
  /// A segment that was deleted; or, with an error, one that could not be deleted: told once, tried
  /// again and again.
  struct Deletion {
    std::string segment;
    std::uint64_t size_bytes = 0;
    Reason reason = Reason::size;
    std::optional<Error> error;
  };
  /// Told of each, on the thread of the call that deletes. Before the first call.
  void set_on_deletion(std::function<void(const Deletion&)> on_deletion) {
    on_deletion_ = std::move(on_deletion);
  }
  /// Told of the first segment that is smaller than was asked for, and of the next such one after
  /// one that is not, on the thread of create(). Before the first call.
  void set_on_smaller(std::function<void(std::uint64_t most_bytes, std::uint64_t bytes)> told) {
    on_smaller_ = std::move(told);
  }
  struct Counters {
    std::atomic<std::uint64_t> segments_deleted{0};
    std::atomic<std::uint64_t> deletions_failed{0};
  };
  /// Any thread.
  [[nodiscard]] const Counters& counters() const { return counters_; }

  [[nodiscard]] Volume& volume() { return volume_; }
  /// Whether apply_retention() has to be called now and then.
  [[nodiscard]] bool deletes_by_age() const { return retention_.age != Duration::zero(); }

  /// What recover() found.
  struct Leftovers {
    std::size_t sealed = 0;  ///< segments that a crash left open, now sealed
    std::size_t empty = 0;   ///< segments that were prepared and never begun, now gone
  };
  /// Before anything is written: counts the sealed segments, and seals those that a crash left
  /// open, without the zeros behind their last byte. Nothing that was recorded is deleted.
  [[nodiscard]] Result<Leftovers> recover();

  struct NewSegment {
    int file = -1;
    std::uint64_t size_bytes = 0;
  };
  /// A new file of `most_bytes` for a segment, its name durable. It is smaller, but no smaller than
  /// kSmallestBytes, where that would be more than half of what is free (with a retention, and if
  /// that is more, than an eighth of that and the old segments together): others who record there,
  /// and the segments to come, need room too. Where the disk is full and a retention is set,
  /// deletes old segments first, as many as it takes and as long as it helps. Contents::zeroed:
  /// filled with zeros that are on the disk, so that a small durable write later is one write and
  /// no more; at the zeroing rate at most, but for the first one of a chain. `stop` is looked at
  /// meanwhile: once it is true no file is made, and the error is ECANCELED. An error names
  /// the segment, the size asked for, and what is free.
  enum class Contents : bool { any, zeroed };
  [[nodiscard]] Result<NewSegment> create(const SegmentName& name, std::uint64_t most_bytes,
                                          Contents contents, const std::atomic<bool>& stop);
  [[nodiscard]] Result<NewSegment> create(const SegmentName& name, std::uint64_t most_bytes) {
    return create(name, most_bytes, Contents::any, false);
  }
  /// Whether a segment that was created, and not ended, is still there for readers.
  [[nodiscard]] bool holds(int file, const SegmentName& name) {
    return volume_.holds(file, to_string(name));
  }
  /// Ends a segment that is written up to `size_bytes`: cuts it, gives it its last name, closes it,
  /// and applies the retention. On failure it is abandoned.
  [[nodiscard]] Result<> seal(int file, SegmentName name, std::uint64_t size_bytes);
  /// Ends a segment after an error: what was confirmed, below `size_bytes`, stays, under a name of
  /// its own. Until that name is durable nothing may be written again: on failure it is tried
  /// again, when `file` is -1 already.
  [[nodiscard]] Result<> abandon(int& file, SegmentName name, std::uint64_t size_bytes);
  /// Removes a segment that was created and never written. If that fails, create() of the same name
  /// begins with it.
  void discard(int file, const SegmentName& name);
  /// Deletes what the retention no longer covers.
  void apply_retention();

 private:
  [[nodiscard]] static Time now();
  struct Sealed {
    std::string name;
    std::uint64_t size_bytes = 0;
    std::int64_t sealed_ns = 0;  ///< as Time::boot_ns
    bool told = false;           ///< that it could not be deleted
  };
  [[nodiscard]] Result<> seal_leftover(const Volume::Entry& entry, SegmentName name, bool is_last,
                                       Leftovers& leftovers);
  [[nodiscard]] Result<> finish(int file, SegmentName name, std::uint64_t size_bytes);
  [[nodiscard]] Result<NewSegment> make(const SegmentName& name, std::uint64_t most_bytes,
                                        Contents contents, const std::atomic<bool>& stop);
  [[nodiscard]] Result<> fill_with_zeros(int file, std::uint64_t size_bytes, bool at_once,
                                         const std::atomic<bool>& stop);
  [[nodiscard]] Result<> remove_undiscarded(const std::string& name);
  void add(const std::string& name, std::uint64_t size_bytes, std::int64_t sealed_ns);
  void renamed_to(const std::string& from, const std::string& to);
  void sort_by_age(std::int64_t now_ns);
  [[nodiscard]] bool deletes() const {
    return retention_.size_bytes != 0 || retention_.age != Duration::zero();
  }
  [[nodiscard]] std::uint64_t share_bytes();
  [[nodiscard]] Result<std::uint64_t> allocate(int file, std::uint64_t most_bytes);
  template <class Call>
  [[nodiscard]] auto with_room(std::uint64_t size_bytes, Call call);
  [[nodiscard]] bool make_room(std::uint64_t size_bytes);
  [[nodiscard]] std::optional<Reason> exceeds_retention();
  [[nodiscard]] bool delete_oldest(Reason reason);
  void take_back();
  void set_aside(Sealed segment);

  Volume& volume_;
  Retention retention_;
  std::uint64_t zeroing_rate_;
  std::function<Time()> clock_ = now;
  std::function<void(const Deletion&)> on_deletion_;
  std::function<void(std::uint64_t, std::uint64_t)> on_smaller_;
  std::atomic<bool> smaller_told_{false};
  Counters counters_;
  std::mutex making_room_;
  std::optional<std::uint64_t> freed_from_;  ///< under making_room_: free before a deletion
  std::mutex deleting_;
  bool deletion_pending_ = false;  ///< under deleting_: its name may come back
  std::mutex lock_;
  std::deque<Sealed> sealed_;      ///< under lock_, the oldest first
  std::vector<Sealed> set_aside_;  ///< under lock_: could not be deleted, and their chains' others
  std::uint64_t sealed_bytes_ = 0;
  std::set<std::string> undiscarded_;  ///< under lock_
};

}  // namespace sluice::capture
