#include "iolib/reactor/reactor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "iolib/base/readiness.h"

namespace sluice {
namespace {

// A turn completes at least this many of the ready requests. The kernel runs 20 items of a ring's
// task work in each io_uring_enter (IO_LOCAL_TW_DEFAULT_MAX in io_uring/io_uring.c).
constexpr std::size_t kLeastPerTurn = 16;
// The handling of one turn in a running process never takes this long, however much there is to do.
constexpr Duration kLongestTurn = std::chrono::milliseconds(100);

// By what a Wait is for.
constexpr std::array<short, 3> kEventsOf = {POLLIN, POLLOUT, POLLRDHUP};

}  // namespace

Reactor::Reactor() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
Reactor::~Reactor() = default;

Result<> Reactor::check_mailbox() const {
  if (!wake_) return Error{EMFILE, "eventfd"};
  return {};
}

void Reactor::prepare(Operation& operation, int fd, std::uint8_t kind) {
  assert(!operation.in_flight_);
  ++in_flight_;
  operation.fd_ = fd;
  operation.kind_ = kind;
  operation.in_flight_ = true;
  operation.cancelled_ = false;
}

void Reactor::end(Operation& operation) {
  assert(operation.in_flight_);
  operation.in_flight_ = false;
  --in_flight_;
}

void Reactor::finish(Operation& operation, const Completion& completion) {
  end(operation);
  operation.complete(completion);
}

void Reactor::post(std::function<void()> work) {
  {
    const std::lock_guard guard(posted_lock_);
    posted_.push_back(std::move(work));
  }
  // Fails only when 2^64 - 2 wake-ups are outstanding, and then the loop is awake.
  const std::uint64_t one = 1;
  static_cast<void>(::write(wake_.get(), &one, sizeof one));
}

void Reactor::stop() {
  post([this] { stopping_ = true; });
}

void Reactor::run() {
  if (!mailbox_.in_flight()) wait_readable(wake_.get(), mailbox_);
  assert(!loop_runs);
  loop_runs = true;
  while (!stopping_) {
    TimePoint next = std::exchange(hastened_to_, TimePoint::max());
    if (!deferrals_.empty()) next = now_;
    if (!timers_.empty()) next = std::min(next, timers_.next());
    std::optional<TimePoint> deadline;
    if (next != TimePoint::max()) deadline = next;
    const TimePoint last_turn = now_;
    const bool more = turn(deadline);
    const TimePoint wait_ended = now_;
    const bool stood_still = wait_ended - last_turn >= kLongestTurn;
    if (more && stood_still && !timers_.empty() && timers_.next() <= wait_ended) catch_up();
    timers_.expire(wait_ended);
    deferrals_.run();
  }
  carry_out();
  stopping_ = false;
  loop_runs = false;
}

// Called when the loop stood still, for example because the process was stopped. Completes all
// requests that were ready when the standstill ended, before any deadline is checked; one turn may
// not complete all of them. Requests complete in the order in which they became ready, so endless
// streams cannot delay the timers further. The number of turns grows with the requests in flight,
// so a loop that is merely busy does not do this.
void Reactor::catch_up() {
  std::size_t turns_left = 1 + in_flight_ / kLeastPerTurn;
  while (turns_left-- > 0 && turn(now_)) {
  }
}

void Reactor::Mailbox::complete(const Completion& /*completion*/) {
  std::uint64_t wakes = 0;
  static_cast<void>(::read(reactor_.wake_.get(), &wakes, sizeof wakes));
  std::vector<std::function<void()>> posted;
  {
    const std::lock_guard guard(reactor_.posted_lock_);
    posted.swap(reactor_.posted_);
  }
  for (const auto& work : posted) work();
  reactor_.wait_readable(reactor_.wake_.get(), *this);
}

void Reactor::Wait::await_suspend(std::coroutine_handle<> waiter) {
  waiter_ = waiter;
  reactor_.set_timer(*this, until_);
  switch (for_) {
    case For::reading:
      return reactor_.wait_readable(descriptor_, *this);
    case For::writing:
      return reactor_.wait_writable(descriptor_, *this);
    case For::end:
      return reactor_.wait_end(descriptor_, *this);
  }
}

void Reactor::Wait::complete(const Completion& completion) {
  reactor_.cancel_timer(*this);
  result_ = completion.result;
  // A descriptor that became ready before the loop handled the deadline is not late.
  if (timed_out_ && result_ == -ECANCELED) {
    const int events = ready_events(descriptor_, kEventsOf[static_cast<std::size_t>(for_)]);
    result_ = events != 0 ? events : -ETIMEDOUT;
  }
  waiter_.resume();
}

void Reactor::Wait::expired() {
  timed_out_ = true;
  reactor_.cancel(*this);
}

}  // namespace sluice
