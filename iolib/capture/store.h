#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/format.h"
#include "iolib/disk/volume.h"

namespace sluice::capture {

/// Limits of what is kept of a capture.
struct Retention {
  std::uint64_t size_bytes = 0;  ///< size of all sealed segments; 0: unlimited
  Duration age{};                ///< age of a segment since it was sealed; 0: unlimited
};

/// The segments of one directory, which several recorders write. Creates and seals segments,
/// deletes those that the retention no longer covers, and recovers what a crash left. All calls may
/// block. Any thread.
class Store {
 public:
  /// In bytes per second: several times what before-forward writes, and a part of what disks can
  /// do.
  static constexpr std::uint64_t kZeroingRate = 512 << 20;
  /// The smallest segment. It holds a few frames of the largest size, however little space there
  /// is.
  static constexpr std::uint64_t kSmallestBytes = 4 << 20;

  /// Borrows `volume`. `zeroing_rate`, in bytes per second, limits how fast segments are filled
  /// with zeros. A volume in memory, which nothing else uses, can be given a higher one.
  Store(Volume& volume, const Retention& retention, std::uint64_t zeroing_rate = kZeroingRate)
      : volume_(volume), retention_(retention), zeroing_rate_(zeroing_rate) {}

  /// Ages are measured by `boot_ns`, so that a step of the wall clock makes nothing older.
  /// `wall_ns` only gives the age of the segments that recover() finds.
  struct Time {
    std::int64_t wall_ns = 0;
    std::int64_t boot_ns = 0;  ///< since boot, including sleep
  };
  /// Sets another clock. Call it before any other call.
  void set_clock(std::function<Time()> clock) { clock_ = std::move(clock); }

  /// Why a segment is deleted: the segments are too large together, it is too old, or the disk is
  /// full (then earlier than the retention requires).
  enum class Reason : std::uint8_t { size, age, room };
  /// A segment that was deleted. With `error`, a segment that could not be deleted: it is reported
  /// once, and tried again later.
  struct Deletion {
    std::string segment;
    std::uint64_t size_bytes = 0;
    Reason reason = Reason::size;
    std::optional<Error> error;
  };
  /// Sets the function that is called for each deletion, on the thread of the call that deletes.
  /// Call it before any other call.
  void set_on_deletion(std::function<void(const Deletion&)> on_deletion) {
    on_deletion_ = std::move(on_deletion);
  }
  /// Sets the function that is called when a segment is smaller than requested and the previous one
  /// was not. It runs on the thread of create(). Call it before any other call.
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
  /// Whether the retention is applied; it is, at first. Of several processes that record to one
  /// directory, one does so. Any thread.
  void set_retains(bool retains) { retains_ = retains; }
  /// Whether apply_retention() must be called at intervals.
  [[nodiscard]] bool deletes_by_age() const { return retention_.age != Duration::zero(); }

  /// What recover() found.
  struct Leftovers {
    std::size_t sealed = 0;  ///< segments that a crash left open; sealed now
    std::size_t empty = 0;   ///< segments that were prepared but never written; removed now
  };
  /// Call it before anything is written. Counts the sealed segments, and seals those that a crash
  /// left open, without the zeros after their last byte. Deletes nothing that was recorded, except
  /// what the retention no longer covers.
  ///
  /// `living` are the runs of other processes that write to the directory. What these have not
  /// sealed stays as it is: see look_after_others().
  [[nodiscard]] Result<Leftovers> recover(const std::set<std::string>& living = {});

  // Other processes that record to the directory, by their runs.

  /// The process of this run has ended: look_after_others() seals what it has left. It must not be
  /// able to write any more, or a segment would have two writers. Does not block.
  void ended(const std::string& run);
  /// Whether look_after_others() must be called at intervals.
  [[nodiscard]] bool has_others() const { return others_left_ != 0; }
  /// Counts what others have sealed, applies the retention, and sees to it that they find room on
  /// the disk. Seals what those have left that have ended, and forgets them. After an error, call
  /// it again later. One thread at a time.
  [[nodiscard]] Result<Leftovers> look_after_others();

  struct NewSegment {
    int file = -1;
    std::uint64_t size_bytes = 0;
  };
  /// What a new segment contains. `zeroed`: zeros that are on the disk, so that a later small
  /// durable write is a single write. The zeroing rate limits how fast they are written, except in
  /// the first segment of a chain.
  enum class Contents : bool { any, zeroed };
  /// Creates a file of `most_bytes` for a segment, and makes its name durable.
  ///
  /// The file is smaller if `most_bytes` is more than half of the free space, because other
  /// recorders and later segments need space too. With a retention, an eighth of the free space and
  /// the old segments together is allowed if that is more. The file is never smaller than
  /// kSmallestBytes.
  ///
  /// If the disk is full and a retention is set, deletes old segments first, as many as needed, as
  /// long as that frees space.
  ///
  /// `stop` is checked while zeros are written: once it is true, no file is made and the call fails
  /// with ECANCELED. Any other error names the segment, the requested size, and the free space.
  [[nodiscard]] Result<NewSegment> create(const SegmentName& name, std::uint64_t most_bytes,
                                          Contents contents, const std::atomic<bool>& stop);
  [[nodiscard]] Result<NewSegment> create(const SegmentName& name, std::uint64_t most_bytes) {
    return create(name, most_bytes, Contents::any, false);
  }
  /// Whether a segment that was created and not ended is still in the directory.
  [[nodiscard]] bool holds(int file, const SegmentName& name) {
    return volume_.holds(file, to_string(name));
  }
  /// Ends a segment that is written up to `size_bytes`: truncates it, gives it its final name,
  /// closes it, and applies the retention. On failure, the segment is abandoned.
  [[nodiscard]] Result<> seal(int file, SegmentName name, std::uint64_t size_bytes);
  /// Ends a segment after an error: truncates it to `size_bytes`, which includes everything
  /// confirmed, closes it, sets `file` to -1, and renames it to a suspect one. Until that name is
  /// durable, nothing may be written again. On failure, call it again with `file` as it is.
  [[nodiscard]] Result<> abandon(int& file, SegmentName name, std::uint64_t size_bytes);
  /// Removes a segment that was created and never written. If that fails, create() of the same name
  /// removes it first.
  void discard(int file, const SegmentName& name);
  /// Deletes what the retention no longer covers.
  void apply_retention();

 private:
  [[nodiscard]] static Time now();
  struct Sealed {
    std::string name;
    std::uint64_t size_bytes = 0;
    std::int64_t sealed_ns = 0;  ///< time as in Time::boot_ns
    bool told = false;           ///< it was reported that it could not be deleted
  };
  using ChainKey = std::pair<std::string, std::uint32_t>;  ///< run and worker
  [[nodiscard]] static ChainKey chain_of(const std::string& segment);
  /// The segments of one run and worker, in the order of their numbers.
  struct Chain;
  [[nodiscard]] Result<std::vector<Chain>> list_chains();
  [[nodiscard]] Result<> take_chain(const Chain& chain, const Time& now, Leftovers& leftovers);
  void count_sealed(const Chain& chain, const Time& now);
  void add_found(const Volume::Entry& entry, const Time& now);
  void make_room_for_others();
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
    return retains_ && (retention_.size_bytes != 0 || retention_.age != Duration::zero());
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
  std::optional<std::uint64_t> freed_from_;  ///< under making_room_: free space before a deletion
  std::mutex deleting_;
  bool deletion_pending_ = false;  ///< under deleting_: the removal of a name is not durable yet
  std::mutex lock_;
  std::deque<Sealed> sealed_;      ///< under lock_; the oldest first
  std::vector<Sealed> set_aside_;  ///< under lock_; undeletable, and the rest of their chains
  std::uint64_t sealed_bytes_ = 0;
  std::set<std::string> undiscarded_;  ///< under lock_
  std::atomic<bool> retains_{true};
  enum class Other : std::uint8_t { living, ended };
  std::map<std::string, Other> others_;      ///< under lock_; by their runs
  std::atomic<std::size_t> others_left_{0};  ///< the size of others_
  /// Sealed segments of others that are counted; those of their first recovery included. Only
  /// recover() and look_after_others() use it.
  std::set<std::string> counted_;
};

}  // namespace sluice::capture
