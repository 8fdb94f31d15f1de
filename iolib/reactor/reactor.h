#pragma once

#include <algorithm>
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/endpoint.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/reactor/deferral.h"
#include "iolib/reactor/operation.h"
#include "iolib/reactor/sender.h"
#include "iolib/reactor/timer.h"

namespace sluice {

/// One thread's event loop: requests on descriptors, timers, and a mailbox for other threads.
///
/// Any thread may call post() and stop(). Everything else belongs to the thread that created the
/// reactor. Descriptors are borrowed and must be O_NONBLOCK. Before a descriptor is closed, every
/// request on it must have completed and forget() must have been called: a request in flight keeps
/// the file open, so close() would send nothing. At most one reading request (receive,
/// wait_readable, wait_end, accept, accept_one), one wait_writable and one watch_errors may be in
/// flight on a descriptor. A reactor may be destroyed with requests in flight and timers set: none
/// of them completes.
class Reactor {
 public:
  /// The most bytes that one receive takes, and the size of a shared buffer. It is large enough
  /// that full buffers tell a stream from messages, and small enough that a batch of buffers stays
  /// in the L2 cache.
  static constexpr std::size_t kReceiveBytes = 32 << 10;

  virtual ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Waits until `fd` is readable and receives at most `max_bytes` (at most kReceiveBytes) into a
  /// shared buffer. The result is the number of bytes; 0 is the end of the stream. No buffer is in
  /// use during the wait.
  virtual void receive(int fd, Operation& operation, std::size_t max_bytes = kReceiveBytes) = 0;
  /// Queues a send of `bytes` to the socket `fd`. All sends of a turn go to the kernel together;
  /// none waits for room. Call it in the complete() of a receive, with bytes of that receive, or in
  /// the sent() of another sender, with the same bytes. Their buffer stays valid until sent()
  /// returns. The send is carried out before any request that is made after it. sent() reports the
  /// outcome at the beginning of the next turn. Returns false if this reactor cannot queue the
  /// send: the caller then sends the bytes itself.
  [[nodiscard]] virtual bool send(int /*fd*/, std::span<const std::byte> /*bytes*/,
                                  Sender& /*sender*/) {
    return false;
  }
  /// The same for bytes that the caller keeps unchanged until sent() or carry_out().
  [[nodiscard]] virtual bool send_own(int /*fd*/, std::span<const std::byte> /*bytes*/,
                                      Sender& /*sender*/) {
    return false;
  }
  /// Carries out the sends and closes that are queued. sent() reports no earlier than without it.
  virtual void carry_out() {}
  /// Makes the next turn begin after `longest_wait` at the latest, for a caller that needs the
  /// report of a send: one that succeeds wakes nobody.
  void hasten(Duration longest_wait = Duration::zero()) {
    hastened_to_ = std::min(hastened_to_, now_ + longest_wait);
  }
  /// Completes when `fd` is readable, has ended or has failed; the result is then positive.
  virtual void wait_readable(int fd, Operation& operation) = 0;
  /// Completes when the peer has ended its stream or `fd` has failed, whatever is unread; the
  /// result is then positive.
  virtual void wait_end(int fd, Operation& operation) = 0;
  /// Completes when `fd` is writable or has failed; the result is then positive.
  virtual void wait_writable(int fd, Operation& operation) = 0;
  /// Stays in flight until it is cancelled. Completes with the poll events each time POLLERR or
  /// POLLHUP occurs, even while nothing is read or written. Leaves a pending error on the socket.
  virtual void watch_errors(int fd, Operation& operation) = 0;
  /// Stays in flight until it is cancelled or fails. Completes once for each connection, with a
  /// descriptor that the caller owns (CLOEXEC, NONBLOCK).
  virtual void accept(int listener, Operation& operation) = 0;
  /// Completes with one connection, as accept() does. For a caller that must not get more
  /// connections than it asks for: a standing request may deliver all queued ones before the first
  /// completes.
  virtual void accept_one(int listener, Operation& operation) = 0;
  /// Requests that `operation` ends. It still completes: with -ECANCELED, or with the result that
  /// it already had.
  virtual void cancel(Operation& operation) = 0;
  /// Removes `fd` from this reactor. Call it before `fd` is closed or moves to another reactor.
  virtual void forget(int fd) = 0;
  /// Closes `fd`: at the beginning of the next turn at the latest, or when the reactor is
  /// destroyed.
  virtual void close(OwnedFd fd) {
    if (fd) forget(fd.get());
  }

  /// Sets an option of the socket `fd` to 1, before any request that is made after it. Errors are
  /// ignored.
  virtual void set_flag(int fd, int level, int option) { sluice::set_flag(fd, level, option); }

  /// Sets how long the loop looks for completions before it sleeps: CPU for latency. 0, the
  /// default: it sleeps at once.
  void set_busy_poll(Duration duration) { busy_poll_ = duration; }

  void set_timer(Timer& timer, TimePoint deadline) { timers_.set(timer, deadline); }
  void cancel_timer(Timer& timer) { timers_.cancel(timer); }
  /// Runs `deferral` at the end of this turn, after the completions and the timers of the turn, in
  /// the order of these calls. A deferral that another one sets runs at the end of the next turn;
  /// that turn does not wait for completions.
  void defer(Deferral& deferral) { deferrals_.add(deferral); }

  class Sleep;
  class Wait;
  /// `co_await sleep_until(t)`: resumes at `deadline`.
  [[nodiscard]] Sleep sleep_until(TimePoint deadline);
  /// `co_await writable(fd, t)`: gives the poll events, -ETIMEDOUT after `deadline`, or another
  /// -errno.
  [[nodiscard]] Wait writable(int fd, TimePoint deadline);
  /// The same for reading. If `fd` is ready when the loop handles the deadline, the events win.
  [[nodiscard]] Wait readable(int fd, TimePoint deadline);
  /// The same for the end of the peer's stream; see wait_end().
  [[nodiscard]] Wait ended(int fd, TimePoint deadline);

  /// The time that the loop read after the wait of the current turn: cheap, and exact enough for
  /// deadlines.
  [[nodiscard]] TimePoint now() const { return now_; }

  /// Runs `work` on the loop's thread, soon and in the order of the calls. Any thread.
  void post(std::function<void()> work);
  /// Serves requests until stop().
  void run();
  /// Makes run() return after the current turn. Any thread.
  void stop();

 protected:
  Reactor();
  /// Waits for completions until `deadline` at most, and completes their operations. True if some
  /// ready ones are left.
  [[nodiscard]] virtual bool turn(std::optional<TimePoint> deadline) = 0;
  /// Calls `found` again and again for the time of set_busy_poll(), until it returns true or the
  /// turn's deadline has come. Returns false if neither happened: then the turn may sleep.
  template <class Found>
  [[nodiscard]] bool look_busily(std::optional<TimePoint> deadline, Found found) const {
    if (busy_poll_ == Duration::zero()) return false;
    TimePoint now = Clock::now();
    const TimePoint until = now + busy_poll_;
    do {
      if (found() || (deadline && *deadline <= now)) return true;
      now = Clock::now();
    } while (now < until);
    return false;
  }
  /// Fails with EMFILE if the constructor got no descriptor for the mailbox.
  [[nodiscard]] Result<> check_mailbox() const;
  /// Sets the time that now() returns. Each turn calls it after its wait; a simulated reactor
  /// passes its own time.
  void refresh_now(TimePoint now = Clock::now()) { now_ = now; }
  /// Records that a request on `fd` begins.
  void prepare(Operation& operation, int fd, std::uint8_t kind);
  /// Records that the request is over, or is about to be made again.
  void end(Operation& operation);
  /// Ends the request and calls complete() for the last time.
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
  std::size_t in_flight_ = 0;  ///< number of requests
  Duration busy_poll_ = Duration::zero();
  TimePoint hastened_to_ = TimePoint::max();  ///< the latest begin of the next turn
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

/// See Reactor::readable, writable and ended.
class Reactor::Wait final : public Operation, public Timer {
 public:
  enum class For : std::uint8_t { reading, writing, end };
  Wait(Reactor& reactor, int fd, For what, TimePoint deadline)
      : reactor_(reactor), until_(deadline), descriptor_(fd), for_(what) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter);
  [[nodiscard]] int await_resume() const noexcept { return result_; }
  /// Ends the wait soon; it then gives -ECANCELED, or what it found before.
  void cancel() {
    if (in_flight()) reactor_.cancel(*this);
  }

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
inline Reactor::Wait Reactor::ended(int fd, TimePoint deadline) {
  return {*this, fd, Wait::For::end, deadline};
}

}  // namespace sluice
