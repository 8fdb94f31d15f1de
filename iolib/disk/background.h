#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice {

/// Threads for calls that may block on a disk. Jobs begin in order.
class BackgroundThreads {
 public:
  /// Throws, and leaves none, where not all can be had.
  explicit BackgroundThreads(std::size_t threads);
  /// Finishes what was asked for, then ends the threads.
  ~BackgroundThreads();
  BackgroundThreads(const BackgroundThreads&) = delete;
  BackgroundThreads& operator=(const BackgroundThreads&) = delete;

  /// Any thread. The callers bound how many jobs wait.
  void submit(std::function<void()> job);

 private:
  void serve();
  void end();

  std::mutex lock_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;  ///< under lock_
  bool stopping_ = false;                   ///< under lock_
  std::vector<std::thread> threads_;
};

}  // namespace sluice
