#include "iolib/reactor/timer.h"

#include <algorithm>

namespace sluice {

void TimerQueue::set(Timer& timer, TimePoint deadline) {
  deadline = std::max(deadline, earliest_);
  const bool earlier = !timer.is_set() || deadline < timer.deadline_;
  if (!timer.is_set()) {
    heap_.push_back(&timer);  // may throw: `timer` is still unchanged
    timer.position_ = heap_.size() - 1;
  }
  timer.deadline_ = deadline;
  if (earlier) {
    sift_up(&timer, timer.position_);
  } else {
    sift_down(&timer, timer.position_);
  }
}

void TimerQueue::cancel(Timer& timer) {
  if (!timer.is_set()) return;
  const std::size_t hole = timer.position_;
  timer.position_ = Timer::kNotSet;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  sift_up(last, hole);
  sift_down(last, last->position_);
}

void TimerQueue::expire(TimePoint now) {
  earliest_ = now + Duration(1);
  while (!heap_.empty() && next() <= now) {
    Timer* timer = heap_.front();
    cancel(*timer);
    timer->expired();
  }
  earliest_ = TimePoint::min();
}

void TimerQueue::place(Timer* timer, std::size_t position) {
  heap_[position] = timer;
  timer->position_ = position;
}

void TimerQueue::sift_up(Timer* timer, std::size_t position) {
  while (position > 0) {
    const std::size_t parent = (position - 1) / 2;
    if (heap_[parent]->deadline_ <= timer->deadline_) break;
    place(heap_[parent], position);
    position = parent;
  }
  place(timer, position);
}

void TimerQueue::sift_down(Timer* timer, std::size_t position) {
  for (;;) {
    std::size_t child = 2 * position + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->deadline_ < heap_[child]->deadline_) ++child;
    if (timer->deadline_ <= heap_[child]->deadline_) break;
    place(heap_[child], position);
    position = child;
  }
  place(timer, position);
}

}  // namespace sluice
