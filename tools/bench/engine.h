#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/owned_fd.h"

namespace sluice::bench {

inline constexpr std::uint64_t kSecondNs = 1'000'000'000;
/// The same as a double, for divisions.
inline constexpr double kNsPerSecond = 1e9;

/// CLOCK_MONOTONIC in nanoseconds.
[[nodiscard]] std::uint64_t now_ns();

/// The phases of a run, in their order.
enum class Phase : std::uint8_t { warmup, measure, stop };

/// The state that the threads of one end share during one run: the phase, and the first failure.
class Control {
 public:
  [[nodiscard]] Phase phase() const { return phase_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_relaxed); }
  /// Enters a phase. Any thread.
  void enter(Phase phase);
  /// The time of enter(Phase::stop), CLOCK_MONOTONIC in ns; 0 before that.
  [[nodiscard]] std::uint64_t stop_time() const { return stop_time_; }
  /// Fails the run, which ends every loop. Keeps the first reason only. Any thread.
  void fail(const std::string& reason);
  /// The first failure's reason; empty if there is none.
  [[nodiscard]] std::string reason() const;
  /// Throws a Failure with the first reason, if the run has failed.
  void check() const;

 private:
  std::atomic<Phase> phase_{Phase::warmup};
  std::atomic<bool> failed_{false};
  std::atomic<std::uint64_t> stop_time_{0};
  mutable std::mutex lock_;
  std::string reason_;
};

/// Makes the calling thread's timers precise. By default they may fire up to 50 µs late, which is
/// as long as a round trip (prctl(2), PR_SET_TIMERSLACK).
void wake_on_time();

class Loop;

/// One connection of one end. All callbacks run on its loop's thread; an exception from them fails
/// the run.
class Connection {
 public:
  explicit Connection(OwnedFd fd) : fd_(std::move(fd)) {}
  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Called when the loop has taken over the connection. Here and below, false means that the
  /// connection is finished; the loop then destroys it.
  [[nodiscard]] virtual bool start() { return true; }
  [[nodiscard]] virtual bool on_ready(std::uint32_t events) = 0;
  /// The time that was set by Loop::set_alarm() has come.
  [[nodiscard]] virtual bool on_alarm(std::uint64_t now) {
    static_cast<void>(now);
    return true;
  }
  /// The measured time is over: ends its own part of the stream.
  [[nodiscard]] virtual bool on_stop() = 0;

  [[nodiscard]] int fd() const { return fd_.get(); }

 protected:
  [[nodiscard]] Loop& loop() const { return *loop_; }

 private:
  friend class Loop;
  OwnedFd fd_;
  Loop* loop_ = nullptr;
  std::uint64_t alarm_ = 0;
  std::uint32_t interest_ = EPOLLIN;
};

/// A thread that serves connections, with level-triggered epoll: a ping-pong costs it two system
/// calls and a share of a wait, less than with iolib's Reactor. It ends when the loop was stopped
/// and all connections are finished, or when the run has failed.
class Loop {
 public:
  explicit Loop(Control& control);
  /// Fails the run if the thread was not joined before, and joins it.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Hands over a connection. Any thread.
  void add(std::unique_ptr<Connection> connection);
  /// Calls on_stop() for every connection, including those that are added later. Any thread.
  void stop();
  /// Waits until the thread has ended.
  void join();

  /// Whether the thread has served its last connection. Any thread.
  [[nodiscard]] bool finished() const { return finished_; }

  // For its connections, on its own thread:
  /// Takes a connection's socket away, for use by another loop. The connection must then finish.
  [[nodiscard]] OwnedFd release_fd(Connection& connection) const;
  /// Sets the epoll events that the connection waits for.
  void set_interest(Connection& connection, std::uint32_t events);
  /// Calls on_alarm() once, at `time` (CLOCK_MONOTONIC, ns). It replaces an earlier alarm; 0
  /// cancels it.
  void set_alarm(Connection& connection, std::uint64_t time);
  [[nodiscard]] Control& control() const { return control_; }
  /// Scratch space for received bytes, shared by all connections: kBufferBytes.
  [[nodiscard]] char* buffer() { return buffer_.data(); }
  static constexpr std::size_t kBufferBytes = std::size_t{1} << 20;

 private:
  void run();
  void serve();
  void wait();
  void take_new();
  void ring_alarms();
  void keep_or_finish(Connection& connection, bool keep);
  void wake() const;

  Control& control_;
  OwnedFd epoll_;
  OwnedFd wake_;
  std::vector<char> buffer_;
  std::vector<epoll_event> events_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::set<std::pair<std::uint64_t, Connection*>> alarms_;
  std::mutex lock_;
  std::vector<std::unique_ptr<Connection>> added_;  ///< guarded by lock_
  std::atomic<bool> stopping_{false};
  std::atomic<bool> finished_{false};
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace sluice::bench
