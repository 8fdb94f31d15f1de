#include "iolib/pipe/pipe_pool.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/spinlock.h"

namespace sluice {

struct PooledPipe {
  Pipe pipe;
  PipeCache* home;  ///< the cache of the thread that leases or keeps the pipe
  PooledPipe* next;
};

// A stack of idle pipes. It records the lowest count since the last trim: that many pipes were
// never needed.
class IdlePipes {
 public:
  [[nodiscard]] PooledPipe* pop() {
    PooledPipe* pipe = head_;
    if (pipe == nullptr) return nullptr;
    head_ = pipe->next;
    fewest_ = std::min(fewest_, --count_);
    return pipe;
  }
  void push(PooledPipe* pipe) {
    assert(pipe->pipe.empty());
    pipe->next = head_;
    head_ = pipe;
    ++count_;
  }
  [[nodiscard]] std::size_t count() const { return count_; }
  /// How many pipes to destroy: half of those never needed since the last call. Restarts the
  /// record.
  [[nodiscard]] std::size_t surplus() {
    const std::size_t unused = std::exchange(fewest_, count_);
    return (unused + 1) / 2;
  }

 private:
  PooledPipe* head_ = nullptr;
  std::size_t count_ = 0;
  std::size_t fewest_ = 0;
};

namespace {

// The slots that the kernel allocates for a size: whole pages, rounded up to a power of two
// (fs/pipe.c, round_pipe_size).
std::size_t slots_of(std::size_t pipe_bytes) {
  return std::bit_ceil((pipe_bytes + Pipe::kSlotBytes - 1) / Pipe::kSlotBytes);
}

}  // namespace

// The state that threads share. The pool and each thread's cache own it together, so a thread can
// end after the pool.
struct PipePool::Shared {
  explicit Shared(const Options& wanted) : options(wanted) {}
  ~Shared() {
    while (PooledPipe* pipe = idle.pop()) destroy(pipe);
    assert(slots == 0);  // a lease outlives the pool
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  void destroy(PooledPipe* pipe) {
    slots.fetch_sub(pipe->pipe.slots(), std::memory_order_relaxed);
    delete pipe;
  }

  const Options options;
  std::atomic<std::size_t> slots{0};  ///< changes only when a pipe is created or destroyed
  /// True once the budget is used up: until the next trim, idle pipes go to the shared list. Rarely
  /// written.
  std::atomic<bool> scarce{false};
  alignas(64) Spinlock lock;
  IdlePipes idle;  ///< under `lock`
};

// The list of idle pipes of one thread.
class PipeCache {
 public:
  explicit PipeCache(std::shared_ptr<PipePool::Shared> shared) : shared_(std::move(shared)) {}
  PipeCache(const PipeCache&) = delete;
  PipeCache& operator=(const PipeCache&) = delete;
  ~PipeCache() {
    const std::lock_guard guard(shared_->lock);
    while (PooledPipe* pipe = idle_.pop()) shared_->idle.push(pipe);
  }

  [[nodiscard]] bool serves(const PipePool::Shared* shared) const {
    return shared_.get() == shared;
  }

  [[nodiscard]] PooledPipe* take() {
    PooledPipe* pipe = idle_.pop();
    if (pipe == nullptr) {
      const std::lock_guard guard(shared_->lock);
      pipe = shared_->idle.pop();
    }
    return pipe;
  }

  void give_back(PooledPipe* pipe) {
    assert(std::this_thread::get_id() == owner_);
    if (!pipe->pipe.empty()) return shared_->destroy(pipe);
    if (idle_.count() < shared_->options.thread_pipes &&
        !shared_->scarce.load(std::memory_order_relaxed)) {
      return idle_.push(pipe);
    }
    const std::lock_guard guard(shared_->lock);
    shared_->idle.push(pipe);
  }

  void trim() {
    shared_->scarce.store(false, std::memory_order_relaxed);
    for (std::size_t left = idle_.surplus(); left > 0; --left) shared_->destroy(idle_.pop());
    IdlePipes unneeded;
    {
      // Another thread is using the list; the next trim does the work.
      const std::unique_lock guard(shared_->lock, std::try_to_lock);
      if (!guard.owns_lock()) return;
      for (std::size_t left = shared_->idle.surplus(); left > 0; --left) {
        unneeded.push(shared_->idle.pop());
      }
    }
    while (PooledPipe* pipe = unneeded.pop()) shared_->destroy(pipe);
  }

  [[nodiscard]] std::size_t count() const { return idle_.count(); }

 private:
  std::shared_ptr<PipePool::Shared> shared_;
  const std::thread::id owner_ = std::this_thread::get_id();
  IdlePipes idle_;
};

PipeLease::PipeLease(PipeLease&& other) noexcept : pipe_(std::exchange(other.pipe_, nullptr)) {}

PipeLease& PipeLease::operator=(PipeLease&& other) noexcept {
  release();
  pipe_ = std::exchange(other.pipe_, nullptr);
  return *this;
}

Pipe& PipeLease::operator*() const { return pipe_->pipe; }

void PipeLease::release() {
  if (PooledPipe* pipe = std::exchange(pipe_, nullptr)) pipe->home->give_back(pipe);
}

PipePool::PipePool(const Options& options) : shared_(std::make_shared<Shared>(options)) {}
PipePool::~PipePool() = default;

PipeCache& PipePool::local_cache() const {
  // A thread uses one pool; in tests, a few.
  thread_local std::vector<std::unique_ptr<PipeCache>> caches;
  for (const auto& cache : caches) {
    if (cache->serves(shared_.get())) return *cache;
  }
  return *caches.emplace_back(std::make_unique<PipeCache>(shared_));
}

PipeLease PipePool::acquire(PipeShortage* shortage) {
  PipeCache& cache = local_cache();
  PipeShortage reason = PipeShortage::none;
  PooledPipe* pipe = cache.take();
  if (pipe == nullptr) pipe = create(reason);
  if (shortage != nullptr) *shortage = reason;
  if (pipe != nullptr) pipe->home = &cache;
  return PipeLease(pipe);
}

PooledPipe* PipePool::create(PipeShortage& shortage) {
  // Reserve the slots first, so that several threads at the limit cannot exceed it together.
  const std::size_t reserved = slots_of(shared_->options.pipe_bytes);
  const std::size_t before = shared_->slots.fetch_add(reserved, std::memory_order_relaxed);
  Result<Pipe> pipe = Error{};
  if (before + reserved > shared_->options.budget_slots) {
    shortage = PipeShortage::budget;
    shared_->scarce.store(true, std::memory_order_relaxed);
  } else if (pipe = Pipe::create(shared_->options.pipe_bytes); pipe.has_error()) {
    shortage = PipeShortage::descriptors;
  } else if (pipe->capacity_bytes() < std::min(kMinPipeBytes, shared_->options.pipe_bytes)) {
    shortage = PipeShortage::quota;
  }
  if (shortage != PipeShortage::none) {
    shared_->slots.fetch_sub(reserved, std::memory_order_relaxed);
    return nullptr;
  }
  shared_->slots.fetch_add(pipe->slots() - reserved, std::memory_order_relaxed);
  return new PooledPipe{std::move(*pipe), nullptr, nullptr};
}

void PipePool::trim() { local_cache().trim(); }
std::size_t PipePool::slots_in_use() const {
  return shared_->slots.load(std::memory_order_relaxed);
}
std::size_t PipePool::cached_pipes() const { return local_cache().count(); }
std::size_t PipePool::shared_pipes() const {
  const std::lock_guard guard(shared_->lock);
  return shared_->idle.count();
}

}  // namespace sluice
