#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice {

/// Threads that run calls which may block on a disk. Jobs start in the order of submit().
class BackgroundThreads {
 public:
  /// Starts all threads. If one cannot start, ends the others and throws std::system_error.
  explicit BackgroundThreads(std::size_t threads);
  /// Runs all submitted jobs, then ends the threads.
  ~BackgroundThreads();
  BackgroundThreads(const BackgroundThreads&) = delete;
  BackgroundThreads& operator=(const BackgroundThreads&) = delete;

  /// Queues `job`. Any thread. The queue has no limit: its callers bound the number of jobs.
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
