#pragma once

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/readiness.h"
#include "iolib/reactor/reactor.h"

namespace sluice::test {

/// A reactor whose clock jumps to the next deadline, for code that waits for timers only. It begins
/// an hour after the epoch.
class SimulatedReactor final : public Reactor {
 public:
  SimulatedReactor() { refresh_now(TimePoint(std::chrono::hours(1))); }

  /// Runs the loop for this long.
  void run_for(Duration time) {
    Stop stop(*this);
    set_timer(stop, now() + time);
    run();
  }

  void receive(int, Operation&, std::size_t) override { std::terminate(); }
  /// Nothing becomes ready but the mailbox, which each turn looks at.
  void wait_readable(int fd, Operation& operation) override {
    prepare(operation, fd, 0);
    mailbox_fd_ = fd;
    mailbox_ = &operation;
  }
  /// A real end of a real socket ends it, or cancel().
  void wait_end(int fd, Operation& operation) override {
    prepare(operation, fd, 0);
    ends_.push_back({fd, &operation, false});
  }
  void wait_writable(int, Operation&) override { std::terminate(); }
  void watch_errors(int, Operation&) override { std::terminate(); }
  void accept(int, Operation&) override { std::terminate(); }
  void accept_one(int, Operation&) override { std::terminate(); }
  void cancel(Operation& operation) override {
    const auto found = std::ranges::find(ends_, &operation, &End::operation);
    if (found == ends_.end()) std::terminate();
    found->is_cancelled = true;
  }
  void forget(int) override {}

 private:
  class Stop final : public Timer {
   public:
    explicit Stop(SimulatedReactor& reactor) : reactor_(reactor) {}

   private:
    void expired() override { reactor_.stop(); }
    SimulatedReactor& reactor_;
  };

  /// A wait for the end of a stream.
  struct End {
    int fd;
    Operation* operation;
    bool is_cancelled;
  };

  bool finish_an_end() {
    for (auto each = ends_.begin(); each != ends_.end(); ++each) {
      const short events = ready_events(each->fd, POLLRDHUP);
      if (events == 0 && !each->is_cancelled) continue;
      const End ended = *each;
      ends_.erase(each);
      finish(*ended.operation, {events != 0 ? events : -ECANCELED, false, {}});
      return true;
    }
    return false;
  }

  bool turn(std::optional<TimePoint> deadline) override {
    if (finish_an_end()) return false;
    if (ready_events(mailbox_fd_, POLLIN) != 0) {
      finish(*std::exchange(mailbox_, nullptr), {POLLIN, false, {}});
    } else if (deadline) {
      refresh_now(std::max(now(), *deadline));
    }
    return false;
  }

  int mailbox_fd_ = -1;
  Operation* mailbox_ = nullptr;
  std::vector<End> ends_;
};

}  // namespace sluice::test
