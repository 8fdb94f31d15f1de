#include "proxy/serve/place_wait.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "iolib/base/readiness.h"

namespace sluice {
namespace {

// The first tries this often without being woken: an ejection ends without anybody's doing, and
// connections that began before a reload gave their route a queue do not know it.
constexpr Duration kBeat = std::chrono::milliseconds(100);

}  // namespace

Task<EndReason> PlaceWait::run(std::uint64_t most) {
  // Without a queue, those who still wait from before are overtaken.
  if ((queue_->length() == 0 || most == 0) && taker_.take()) co_return EndReason::none;
  if (!queue_->join(*this, most)) co_return EndReason::queue_full;
  co_return co_await wait(reactor_.now());
}

Task<EndReason> PlaceWait::run_again(Duration waited) {
  queue_->join_first(*this);
  co_return co_await wait(reactor_.now() - waited);
}

// Only the first looks at the clock: it has waited longest.
Task<EndReason> PlaceWait::wait(TimePoint began) {
  EndReason end = EndReason::none;
  while (end == EndReason::none && !cancelled_) {
    TimePoint until = TimePoint::max();
    if (queue_->is_first(*this)) {
      if (has_left()) {
        end = EndReason::left;
        break;
      }
      if (taker_.take()) break;
      const TimePoint deadline = began + taker_.longest_wait();
      if (reactor_.now() >= deadline) {
        end = EndReason::queue_timeout;
        break;
      }
      until = std::min(deadline, reactor_.now() + kBeat);
    }
    Reactor::Wait wait = reactor_.ended(fd_, until);
    wait_ = &wait;
    const int events = co_await wait;
    wait_ = nullptr;
    if (events != -ETIMEDOUT && events != -ECANCELED) end = EndReason::left;
  }
  queue_->leave(*this);
  reactor_.forget(fd_);
  co_return end;
}

bool PlaceWait::has_left() const { return ready_events(fd_, POLLRDHUP) != 0; }

void PlaceWait::woken() {
  if (wait_ != nullptr) wait_->cancel();
}

void PlaceWait::cancel() {
  cancelled_ = true;
  woken();
}

}  // namespace sluice
