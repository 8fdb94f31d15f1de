#include "proxy/upstream/route_queue.h"

#include <cassert>
#include <utility>

namespace sluice {

bool RouteQueue::join(Waiter& waiter, std::uint64_t most) {
  const std::lock_guard guard(lock_);
  if (waiting_.size() >= most) return false;
  waiting_.push_back(waiter);
  note_length();
  return true;
}

void RouteQueue::join_first(Waiter& waiter) {
  const std::lock_guard guard(lock_);
  waiting_.push_front(waiter);
  note_length();
}

void RouteQueue::leave(Waiter& waiter) {
  Reactor* next = nullptr;
  {
    const std::lock_guard guard(lock_);
    const bool was_first = &waiting_.front() == &waiter;
    waiting_.erase(waiting_.iterator_to(waiter));
    note_length();
    if (was_first) next = to_wake();
  }
  post_to(next);
}

bool RouteQueue::is_first(const Waiter& waiter) const {
  const std::lock_guard guard(lock_);
  return !waiting_.empty() && &waiting_.front() == &waiter;
}

void RouteQueue::wake() {
  Reactor* first = nullptr;
  {
    const std::lock_guard guard(lock_);
    first = to_wake();
  }
  post_to(first);
}

void RouteQueue::note_length() { length_.store(waiting_.size(), std::memory_order_relaxed); }

// The reactor of the first, if it must be told; under lock_. One post is enough for everything that
// happens before it arrives.
Reactor* RouteQueue::to_wake() {
  if (waiting_.empty() || std::exchange(waking_, true)) return nullptr;
  return &waiting_.front().reactor_;
}

void RouteQueue::post_to(Reactor* reactor) {
  if (reactor == nullptr) return;
  reactor->post([self = shared_from_this(), reactor] { self->deliver(*reactor); });
}

// Only its own thread takes a waiter out, so the first stays valid without the lock. If it is on
// another thread by now, the post goes on to that one.
void RouteQueue::deliver(Reactor& reactor) {
  Waiter* first = nullptr;
  Reactor* next = nullptr;
  {
    const std::lock_guard guard(lock_);
    assert(waking_);
    waking_ = false;
    if (waiting_.empty()) return;
    if (&waiting_.front().reactor_ == &reactor) {
      first = &waiting_.front();
    } else {
      next = to_wake();
    }
  }
  if (first != nullptr) return first->woken();
  post_to(next);
}

}  // namespace sluice
