#pragma once

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/reactor/deferral.h"
#include "iolib/reactor/operation.h"
#include "iolib/reactor/sender.h"
#include "iolib/reactor/timer.h"

namespace sluice {

/// One thread's event loop: requests on descriptors, timers, and a mailbox for other threads.
///
/// Everything but post() and stop() belongs to the thread that created it. Descriptors are
/// borrowed, must be O_NONBLOCK, and are closed only after every request on them has completed and
/// forget() was called: a request in flight holds the file, and close() would then send nothing. At
/// most one reading request (receive, wait_readable, accept, accept_one), one wait_writable and one
/// watch_errors may be in flight on a descriptor. A reactor may be destroyed with requests in
/// flight and timers set: none of them completes.
class Reactor {
 public:
  /// What one receive takes at most, and the size of a shared buffer: large enough that a stream
  /// is told from messages by full buffers, small enough that a batch of them stays in the L2
  /// cache.
  static constexpr std::size_t kReceiveBytes = 32 << 10;

  virtual ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Waits until `fd` is readable and receives at most `max_bytes` (at most kReceiveBytes) into a
  /// shared buffer: result is the number of bytes, 0 at the end of the stream. No buffer is held
  /// while waiting.
  virtual void receive(int fd, Operation& operation, std::size_t max_bytes = kReceiveBytes) = 0;
  /// Sends `bytes` to the socket `fd` together with all other sends of this turn, without waiting
  /// for room. `bytes` are some of those that a receive has brought: this is called from within its
  /// complete(), and lends its buffer to `sender`. The send has been carried out before any request
  /// that is made behind it, and before sent() reports it, at the beginning of the next turn. False
  /// if this reactor cannot: then the caller sends.
  [[nodiscard]] virtual bool send(int /*fd*/, std::span<const std::byte> /*bytes*/,
                                  Sender& /*sender*/) {
    return false;
  }
  /// The next turn begins at once: somebody waits for a send to be reported.
  void hasten() { hastened_ = true; }
  /// Waits until `fd` is readable (or ended, or failed); result is positive.
  virtual void wait_readable(int fd, Operation& operation) = 0;
  /// Waits until `fd` is writable (or failed); result is positive.
  virtual void wait_writable(int fd, Operation& operation) = 0;
  /// Stands until cancelled; completes with the poll events whenever POLLERR or POLLHUP comes up,
  /// whatever else is paused. Takes no error away.
  virtual void watch_errors(int fd, Operation& operation) = 0;
  /// Stands until cancelled or failed; completes with a descriptor (CLOEXEC, NONBLOCK, now the
  /// caller's) for each connection.
  virtual void accept(int listener, Operation& operation) = 0;
  /// Completes with one connection: for who must not be given more than it asks for, since a
  /// standing request may bring all that are queued before the first completes.
  virtual void accept_one(int listener, Operation& operation) = 0;
  /// Asks for `operation` to end. It still completes: with -ECANCELED, or with what it had got.
  virtual void cancel(Operation& operation) = 0;
  /// `fd` leaves this reactor: it is about to be closed, or goes to another one.
  virtual void forget(int fd) = 0;
  /// Closes `fd`, at the latest at the beginning of the next turn, or with the reactor.
  virtual void close(OwnedFd fd) {
    if (fd) forget(fd.get());
  }

  void set_timer(Timer& timer, TimePoint deadline) { timers_.set(timer, deadline); }
  void cancel_timer(Timer& timer) { timers_.cancel(timer); }
  /// `deferral` happens at the end of this turn, after all that was ready and all timers that are
  /// due, in the order of these calls. One that is set by another that happens waits for the end of
  /// the next turn, before which the loop looks at its requests, but does not wait for them.
  void defer(Deferral& deferral) { deferrals_.add(deferral); }

  class Sleep;
  class Wait;
  /// `co_await sleep_until(t)`: goes on at `deadline`.
  [[nodiscard]] Sleep sleep_until(TimePoint deadline);
  /// `co_await writable(fd, t)`: poll events, -ETIMEDOUT after `deadline`, or another -errno.
  [[nodiscard]] Wait writable(int fd, TimePoint deadline);
  /// The same for reading. What has come by the time that the loop looks beats the deadline.
  [[nodiscard]] Wait readable(int fd, TimePoint deadline);

  /// The time at which the current turn of the loop began: cheap, and good enough for deadlines.
  [[nodiscard]] TimePoint now() const { return now_; }

  /// Runs `work` on the loop's thread, soon and in order. Any thread.
  void post(std::function<void()> work);
  /// Serves requests until stop().
  void run();
  /// Makes run() return after the current turn. Any thread.
  void stop();

 protected:
  Reactor();
  /// Waits for completions, at most until `deadline`, and hands them out. True if it has left some
  /// that were there.
  [[nodiscard]] virtual bool turn(std::optional<TimePoint> deadline) = 0;
  /// Whether the mailbox could be had: there may be no descriptor left for it.
  [[nodiscard]] Result<> check_mailbox() const;
  /// Once in each turn; a simulated reactor has a time of its own.
  void refresh_now(TimePoint now = Clock::now()) { now_ = now; }
  /// A request begins.
  void prepare(Operation& operation, int fd, std::uint8_t kind);
  /// It is over, or is about to be made once more.
  void end(Operation& operation);
  /// Ends it, and completes it for the last time.
  void finish(Operation& operation, const Completion& completion);

 private:
  // Reads the eventfd that post() writes.
  class Mailbox final : public Operation {
   public:
    explicit Mailbox(Reactor& reactor) : reactor_(reactor) {}
    void complete(const Completion& completion) override;

   private:
    Reactor& reactor_;
  };

  void catch_up();

  TimerQueue timers_;
  DeferralQueue deferrals_;
  std::size_t in_flight_ = 0;  ///< requests
  bool hastened_ = false;
  TimePoint now_ = Clock::now();
  OwnedFd wake_;
  Mailbox mailbox_{*this};
  std::mutex posted_lock_;
  std::vector<std::function<void()>> posted_;  ///< under posted_lock_
  std::atomic<bool> stopping_{false};
};

/// See Reactor::sleep_until.
class Reactor::Sleep final : public Timer {
 public:
  Sleep(Reactor& reactor, TimePoint deadline) : reactor_(reactor), until_(deadline) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    reactor_.set_timer(*this, until_);
  }
  void await_resume() const noexcept {}

 private:
  void expired() override { waiter_.resume(); }
  Reactor& reactor_;
  TimePoint until_;
  std::coroutine_handle<> waiter_;
};

/// See Reactor::readable and writable.
class Reactor::Wait final : public Operation, public Timer {
 public:
  enum class For : std::uint8_t { reading, writing };
  Wait(Reactor& reactor, int fd, For what, TimePoint deadline)
      : reactor_(reactor), until_(deadline), descriptor_(fd), for_(what) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter);
  [[nodiscard]] int await_resume() const noexcept { return result_; }

 private:
  void complete(const Completion& completion) override;
  void expired() override;
  Reactor& reactor_;
  TimePoint until_;
  std::coroutine_handle<> waiter_;
  int descriptor_;
  int result_ = 0;
  For for_;
  bool timed_out_ = false;
};

inline Reactor::Sleep Reactor::sleep_until(TimePoint deadline) { return {*this, deadline}; }
inline Reactor::Wait Reactor::writable(int fd, TimePoint deadline) {
  return {*this, fd, Wait::For::writing, deadline};
}
inline Reactor::Wait Reactor::readable(int fd, TimePoint deadline) {
  return {*this, fd, Wait::For::reading, deadline};
}

}  // namespace sluice
