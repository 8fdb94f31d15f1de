#pragma once

#include <cassert>
#include <cstddef>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/reactor/loop.h"

namespace sluice {

/// A callback that runs once, at a deadline. Set and cancelled through its Reactor.
///
/// The owner keeps it at one address while it is set and the loop runs.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer() { assert(!is_set() || !loop_runs); }
  [[nodiscard]] bool is_set() const { return position_ != kNotSet; }
  /// The timer must be set.
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

/// A binary heap of timers. Each timer knows its position, so set() and cancel() are O(log n). Only
/// the growth of the heap allocates. Used by one thread.
class TimerQueue {
 public:
  /// Sets `timer`, or moves it to another deadline.
  void set(Timer& timer, TimePoint deadline);
  void cancel(Timer& timer);
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] TimePoint next() const { return heap_.front()->deadline(); }
  /// Expires every timer that is due at `now`. One that is set meanwhile to `now` or earlier waits
  /// for the next call.
  void expire(TimePoint now);

 private:
  void place(Timer* timer, std::size_t position);
  void sift_up(Timer* timer, std::size_t position);
  void sift_down(Timer* timer, std::size_t position);

  std::vector<Timer*> heap_;
  /// During expire(), set() raises earlier deadlines to this: just after `now`. So a timer that
  /// sets itself to the past cannot block the loop or overtake timers that were due before it.
  TimePoint earliest_ = TimePoint::min();
};

}  // namespace sluice
