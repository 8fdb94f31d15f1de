#pragma once

#include <cassert>
#include <cstddef>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/reactor/loop.h"

namespace sluice {

/// Something that happens once at a deadline; set and cancelled through its Reactor.
///
/// The owner keeps it at one address while it is set and the loop runs.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer() { assert(!is_set() || !loop_runs); }
  [[nodiscard]] bool is_set() const { return position_ != kNotSet; }
  /// Of a timer that is set.
  [[nodiscard]] TimePoint deadline() const {
    assert(is_set());
    return deadline_;
  }

 private:
  friend class TimerQueue;
  virtual void expired() = 0;

  static constexpr std::size_t kNotSet = ~std::size_t{0};
  TimePoint deadline_;
  std::size_t position_ = kNotSet;
};

/// A binary heap of timers, each of which knows its place: set and cancel are O(log n) and allocate
/// nothing but the heap's own growth. Used by one thread.
class TimerQueue {
 public:
  /// Sets `timer`, or moves it to another deadline.
  void set(Timer& timer, TimePoint deadline);
  void cancel(Timer& timer);
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] TimePoint next() const { return heap_.front()->deadline(); }
  /// Lets every timer expire that was due at `now` (one that is set meanwhile, to a time not later
  /// than `now`, waits for the next call).
  void expire(TimePoint now);

 private:
  void place(Timer* timer, std::size_t position);
  void sift_up(Timer* timer, std::size_t position);
  void sift_down(Timer* timer, std::size_t position);

  std::vector<Timer*> heap_;
  /// While timers expire: what is set now comes later than all that is due, so that a timer which
  /// sets itself to the past can neither hold the loop nor pass those that were due before it.
  TimePoint earliest_ = TimePoint::min();
};

}  // namespace sluice
