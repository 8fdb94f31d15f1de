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
/// The same for figures that are divided.
inline constexpr double kNsPerSecond = 1e9;

/// CLOCK_MONOTONIC in nanoseconds.
[[nodiscard]] std::uint64_t now_ns();

enum class Phase : std::uint8_t { warmup, measure, stop };

/// What the threads of one end of one run share: the phase, and the first thing that went wrong.
class Control {
 public:
  [[nodiscard]] Phase phase() const { return phase_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_relaxed); }
  void enter(Phase phase);
  /// When the measured time ended; 0 before.
  [[nodiscard]] std::uint64_t stop_time() const { return stop_time_; }
  /// Keeps the first reason, and makes every loop end. Any thread.
  void fail(const std::string& reason);
  /// The first reason, or nothing.
  [[nodiscard]] std::string reason() const;
  /// Throws the first reason as a Failure, if there is one.
  void check() const;

 private:
  std::atomic<Phase> phase_{Phase::warmup};
  std::atomic<bool> failed_{false};
  std::atomic<std::uint64_t> stop_time_{0};
  mutable std::mutex lock_;
  std::string reason_;
};

/// Lets the calling thread's timers go off when they are due, not up to 50 µs later (prctl(2),
/// PR_SET_TIMERSLACK): that is as long as a round trip.
void wake_on_time();

class Loop;

/// One connection of one end, served by one loop. Failures are thrown.
class Connection {
 public:
  explicit Connection(OwnedFd fd) : fd_(std::move(fd)) {}
  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// The loop has it. False, here and below: it is finished, and is destroyed.
  [[nodiscard]] virtual bool start() { return true; }
  [[nodiscard]] virtual bool on_ready(std::uint32_t events) = 0;
  /// The time asked for by Loop::set_alarm has come.
  [[nodiscard]] virtual bool on_alarm(std::uint64_t now) {
    static_cast<void>(now);
    return true;
  }
  /// The measured time is over: it ends its part of the stream.
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

/// A thread that serves its connections until it was stopped and all of them are finished, or until
/// the run has failed.
class Loop {
 public:
  explicit Loop(Control& control);
  /// Fails the run if it is not over, and joins.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Any thread.
  void add(std::unique_ptr<Connection> connection);
  /// Stops every connection, those that are still to come included. Any thread.
  void stop();
  void join();

  /// It was stopped and all its connections are finished, or the run has failed. Any thread.
  [[nodiscard]] bool finished() const { return finished_; }

  // For its connections.
  /// Gives up a connection's socket, for another loop; the connection then has to finish.
  [[nodiscard]] OwnedFd release_fd(Connection& connection) const;
  /// Which events it wants from now on.
  void set_interest(Connection& connection, std::uint32_t events);
  /// Calls on_alarm() once, at `time` (CLOCK_MONOTONIC); replaces an earlier one, 0 takes it away.
  void set_alarm(Connection& connection, std::uint64_t time);
  [[nodiscard]] Control& control() const { return control_; }
  /// Shared scratch space for what is received: kBufferBytes of it.
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
  std::vector<std::unique_ptr<Connection>> added_;  ///< under lock_
  std::atomic<bool> stopping_{false};
  std::atomic<bool> finished_{false};
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace sluice::bench
