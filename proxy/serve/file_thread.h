#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "iolib/base/owned_fd.h"

namespace sluice {

/// A helper thread for work that may block on a disk, so that no worker blocks.
///
/// A hanging mount may block the thread forever. So a user waits for its errand with a deadline,
/// and nothing waits for the thread to end.
class FileThread {
 public:
  FileThread();
  /// Drops the work that has not begun. Work that has begun continues on its own.
  ~FileThread();
  FileThread(const FileThread&) = delete;
  FileThread& operator=(const FileThread&) = delete;

  class Errand;

 private:
  struct Job {
    std::function<void()> work;
    std::shared_ptr<const OwnedFd> done;
  };
  // Shared by the thread and its users; each of them may be destroyed before the others.
  struct Queue {
    std::mutex lock;
    std::condition_variable wake;
    std::deque<Job> jobs;  ///< under lock; at most one job per errand
    bool stopping = false;
  };
  static void serve(Queue& queue);

  std::shared_ptr<Queue> queue_;
};

/// The work that one user gives to a FileThread, one piece at a time. Belongs to the user's thread.
class FileThread::Errand {
 public:
  explicit Errand(FileThread& thread);
  /// Drops the work if it has not begun. Work that has begun may continue, and keeps what it
  /// captured.
  ~Errand();
  Errand(const Errand&) = delete;
  Errand& operator=(const Errand&) = delete;

  /// An eventfd that is readable once the work is done; -1 if there was no descriptor for it. Owned
  /// by the Errand.
  [[nodiscard]] int done_fd() const { return done_->get(); }

  enum class Place : std::uint8_t { first, last };
  /// Queues `work` before or after all waiting work.
  void begin(std::function<void()> work, Place place);
  /// Acknowledges that the work is done. Call it before you read the work's results or begin more
  /// work.
  void finish();

 private:
  std::shared_ptr<Queue> queue_;
  std::shared_ptr<const OwnedFd> done_;
};

/// Part of a file.
struct FileRange {
  int file = -1;  ///< borrowed
  std::uint64_t offset = 0;
  std::size_t size_bytes = 0;
};
/// Whether the whole range is in the page cache, according to the kernel (cachestat, Linux 6.5). A
/// sendfile of any other range would block.
[[nodiscard]] bool in_page_cache(const FileRange& range);
/// Reads the range into the page cache. Ignores errors: the sendfile that follows reports them.
void read_through(const FileRange& range);

}  // namespace sluice
