#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "iolib/base/spinlock.h"
#include "iolib/reactor/reactor.h"

namespace sluice {

/// The connections of a route that wait for a place, in the order in which they came. All workers
/// share it. Any thread.
///
/// Nothing is handed over: the first tries to take a place whenever it is woken, and stays the
/// first until it has one. Whoever frees a place, and whoever leaves the queue as its first, wakes
/// the first. So a place that is freed while the first tries is never lost, and nobody overtakes.
class RouteQueue : public std::enable_shared_from_this<RouteQueue> {
 public:
  /// A connection that waits, on the thread of its reactor.
  class Waiter : public boost::intrusive::list_base_hook<> {
   public:
    explicit Waiter(Reactor& reactor) : reactor_(reactor) {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    virtual ~Waiter() = default;

   private:
    friend class RouteQueue;
    /// It is the first, and a place may be free. Called on its thread. Must not leave the queue,
    /// but make its owner try soon.
    virtual void woken() = 0;
    Reactor& reactor_;
  };

  /// Joins as the last one; returns false if `most` wait already. The caller then tries if it is
  /// the first: a place can have been freed just before. It leaves before it is destroyed.
  [[nodiscard]] bool join(Waiter& waiter, std::uint64_t most);
  /// Joins as the first one, however many wait: for one that has waited before.
  void join_first(Waiter& waiter);
  void leave(Waiter& waiter);
  [[nodiscard]] bool is_first(const Waiter& waiter) const;
  /// A place may have become free. `this` must be in a shared_ptr.
  void wake();
  [[nodiscard]] std::uint64_t length() const { return length_.load(std::memory_order_relaxed); }

 private:
  void note_length();
  [[nodiscard]] Reactor* to_wake();
  void post_to(Reactor* reactor);
  void deliver(Reactor& reactor);

  mutable Spinlock lock_;
  boost::intrusive::list<Waiter> waiting_;  ///< under lock_
  bool waking_ = false;  ///< under lock_: a post that wakes the first is on its way
  std::atomic<std::uint64_t> length_{0};
};

}  // namespace sluice
