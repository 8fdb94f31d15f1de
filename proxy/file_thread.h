#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "iolib/reactor/reactor.h"

namespace sluice {

/// One helper thread that does what may block on a disk, so that no worker does.
class FileThread {
 public:
  FileThread();
  /// Finishes what was asked for, then ends the thread.
  ~FileThread();
  FileThread(const FileThread&) = delete;
  FileThread& operator=(const FileThread&) = delete;

  /// Part of a file.
  struct Range {
    int file = -1;  ///< borrowed
    std::uint64_t offset = 0;
    std::size_t size_bytes = 0;
  };

  class Work;
  /// `co_await run(reactor, work)`: runs `work` on the helper thread, then goes on on the
  /// reactor's.
  [[nodiscard]] Work run(Reactor& reactor, std::function<void()> work);

  class ReadIn;
  /// `co_await read_in(reactor, range)`: goes on, on the reactor's thread, when `range` is in the
  /// page cache, or could not be read (the sendfile that follows will say why). The worker then
  /// sends just this range: a cold sendfile would block its loop.
  [[nodiscard]] ReadIn read_in(Reactor& reactor, const Range& range);

 private:
  struct Job {
    std::function<void()> work;
    Reactor* reactor;
    std::coroutine_handle<> waiter;
  };
  enum class Place : std::uint8_t { first, last };
  void submit(Job job, Place place);
  void serve();

  std::mutex lock_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;  ///< under lock_; at most one for each connection to a file route
  bool stopping_ = false;
  std::thread thread_;
};

/// See FileThread::run.
class FileThread::Work {
 public:
  Work(FileThread& files, Reactor& reactor, std::function<void()> work)
      : files_(files), reactor_(reactor), work_(std::move(work)) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    files_.submit({std::move(work_), &reactor_, waiter}, Place::first);
  }
  void await_resume() const noexcept {}

 private:
  FileThread& files_;
  Reactor& reactor_;
  std::function<void()> work_;
};

/// See FileThread::read_in.
class FileThread::ReadIn {
 public:
  ReadIn(FileThread& files, Reactor& reactor, const Range& range)
      : files_(files), reactor_(reactor), range_(range) {}
  /// Ready at once where the kernel says that all of it is cached (cachestat, Linux 6.5).
  [[nodiscard]] bool await_ready() const;
  void await_suspend(std::coroutine_handle<> waiter);
  void await_resume() const noexcept {}

 private:
  FileThread& files_;
  Reactor& reactor_;
  Range range_;
};

inline FileThread::Work FileThread::run(Reactor& reactor, std::function<void()> work) {
  return {*this, reactor, std::move(work)};
}
inline FileThread::ReadIn FileThread::read_in(Reactor& reactor, const Range& range) {
  return {*this, reactor, range};
}

}  // namespace sluice
