#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "iolib/base/error.h"
#include "iolib/pipe/pipe.h"

namespace sluice {

class PipeCache;
struct PooledPipe;

/// Why the pool had no pipe to lend.
enum class PipeShortage : std::uint8_t {
  none,
  budget,       ///< the pool's own budget of slots is used up
  quota,        ///< the kernel granted less than kMinPipeBytes (the user's soft quota is used up)
  descriptors,  ///< EMFILE, ENFILE or ENOMEM
};

/// A pipe borrowed from a PipePool. The destructor gives it back. Empty if the pool had none.
///
/// The thread that acquired it must give it back. A pipe that still holds bytes is destroyed,
/// because the next borrower would forward the bytes of another connection.
class PipeLease {
 public:
  PipeLease() = default;
  PipeLease(PipeLease&& other) noexcept;
  PipeLease& operator=(PipeLease&& other) noexcept;
  PipeLease(const PipeLease&) = delete;
  PipeLease& operator=(const PipeLease&) = delete;
  ~PipeLease() { release(); }

  [[nodiscard]] explicit operator bool() const { return pipe_ != nullptr; }
  [[nodiscard]] Pipe& operator*() const;
  [[nodiscard]] Pipe* operator->() const { return &**this; }
  /// Gives the pipe back now.
  void release();

 private:
  friend class PipePool;
  explicit PipeLease(PooledPipe* pipe) : pipe_(pipe) {}
  PooledPipe* pipe_ = nullptr;
};

/// Lends pipes: first from the calling thread's own list (last in, first out: its pages are warm),
/// then from the global list under a spinlock, then by creating one within a fixed budget.
///
/// All pipes are equal, so the lists are linked lists, and taking a pipe writes two pointers. The
/// fast path touches no shared memory. When a thread ends, its list moves to the global one. The
/// pool must outlive every lease, but not every thread. Any thread may call acquire() and trim().
class PipePool {
 public:
  struct Options {
    /// The wanted size of each pipe.
    std::size_t pipe_bytes = 1 << 20;
    /// The most slots that all pipes may have together. It counts slots because one slot can pin a
    /// 32 KiB fragment: 65,536 slots are 256 pipes of 1 MiB, and pin at most 2 GiB.
    std::size_t budget_slots = 65'536;
    /// The most idle pipes in a thread's own list; the rest go to the global list. A pipe is leased
    /// only while it holds bytes, so few are in use at once unless many readers are slow.
    std::size_t thread_pipes = 16;
  };
  /// The smallest useful pipe: a splice through a smaller one would move less than one receive.
  static constexpr std::size_t kMinPipeBytes = 64 << 10;

  explicit PipePool(const Options& options);
  ~PipePool();
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;

  /// Leases an empty pipe. Without one, the lease is empty and `shortage`, if not null, gets the
  /// reason. That is a normal outcome: the caller copies for a while and tries again later.
  [[nodiscard]] PipeLease acquire(PipeShortage* shortage = nullptr);

  /// Destroys half of the pipes that stayed unused since the last call, both in the calling
  /// thread's list and in the global one.
  void trim();

  /// The slots of all pipes that exist now, leased or idle. Any thread.
  [[nodiscard]] std::size_t slots_in_use() const;
  /// Idle pipes in the calling thread's list.
  [[nodiscard]] std::size_t cached_pipes() const;
  /// Idle pipes in the global list.
  [[nodiscard]] std::size_t shared_pipes() const;

 private:
  friend class PipeCache;
  friend struct PooledPipe;
  friend class PipeLease;
  struct Shared;
  [[nodiscard]] PipeCache& local_cache() const;
  [[nodiscard]] PooledPipe* create(PipeShortage& shortage);

  std::shared_ptr<Shared> shared_;
};

}  // namespace sluice
