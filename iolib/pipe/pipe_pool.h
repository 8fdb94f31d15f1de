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
  quota,        ///< the kernel granted too small a pipe (unprivileged user beyond the soft quota)
  descriptors,  ///< EMFILE, ENFILE or ENOMEM
};

/// A pipe borrowed from a PipePool, given back by the destructor; empty when there was none.
///
/// The thread that acquired it gives it back. A pipe that still holds bytes is destroyed instead:
/// the next borrower would forward somebody else's bytes.
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

/// Lends pipes: from the calling thread's own list first (last in, first out: its pages are warm),
/// then from the global list under a spinlock, then by creating one within a hard budget.
///
/// Lists are linked: every pipe is worth the same, none is looked for, and taking one is two
/// pointer writes. The fast path touches nothing shared. Each thread's list is flushed to the
/// global one when the thread ends; the pool must outlive every lease, not every thread.
/// acquire() and trim() may be called by any thread.
class PipePool {
 public:
  struct Options {
    std::size_t pipe_bytes = 1 << 20;
    /// The budget counts slots, because a slot can pin a whole 32 KiB fragment: 65,536 slots are
    /// 256 pipes of 1 MiB, and at worst 2 GiB.
    std::size_t budget_slots = 65'536;
    /// What a thread keeps to itself; the rest is shared. A pipe is held only while it has bytes,
    /// so few are in use at once unless many readers are slow.
    std::size_t thread_pipes = 16;
  };
  /// A pipe below this is not worth a splice: one turn would move less than a receive does.
  static constexpr std::size_t kMinPipeBytes = 64 << 10;

  explicit PipePool(const Options& options);
  ~PipePool();
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;

  /// An empty pipe; or an empty lease, with the reason in `shortage` if asked for. Exhaustion is
  /// nothing unusual: the caller copies for a while and tries again later.
  [[nodiscard]] PipeLease acquire(PipeShortage* shortage = nullptr);

  /// Closes pipes that nobody needed since the last call: half of what lay unused all the time in
  /// the calling thread's list, and half of what did in the global one.
  void trim();

  /// Slots of all pipes that exist now, lent or idle.
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
