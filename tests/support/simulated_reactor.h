#pragma once

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

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
    End end(*this);
    set_timer(end, now() + time);
    run();
  }

  void receive(int, Operation&, std::size_t) override { std::terminate(); }
  /// Nothing becomes ready but the mailbox, which each turn looks at.
  void wait_readable(int fd, Operation& operation) override {
    prepare(operation, fd, 0);
    mailbox_fd_ = fd;
    mailbox_ = &operation;
  }
  void wait_writable(int, Operation&) override { std::terminate(); }
  void watch_errors(int, Operation&) override { std::terminate(); }
  void accept(int, Operation&) override { std::terminate(); }
  void accept_one(int, Operation&) override { std::terminate(); }
  void cancel(Operation&) override { std::terminate(); }
  void forget(int) override {}

 private:
  class End final : public Timer {
   public:
    explicit End(SimulatedReactor& reactor) : reactor_(reactor) {}

   private:
    void expired() override { reactor_.stop(); }
    SimulatedReactor& reactor_;
  };

  bool turn(std::optional<TimePoint> deadline) override {
    if (ready_events(mailbox_fd_, POLLIN) != 0) {
      finish(*std::exchange(mailbox_, nullptr), {POLLIN, false, {}});
    } else if (deadline) {
      refresh_now(std::max(now(), *deadline));
    }
    return false;
  }

  int mailbox_fd_ = -1;
  Operation* mailbox_ = nullptr;
};

}  // namespace sluice::test
