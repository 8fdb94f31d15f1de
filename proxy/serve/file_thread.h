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

/// A helper thread that does what may block on a disk, so that no worker does.
///
/// A mount that hangs may keep it for ever: whoever gives it an errand waits with a deadline, and
/// nobody waits for the thread to end.
class FileThread {
 public:
  FileThread();
  /// Drops what has not begun, and leaves to itself what has.
  ~FileThread();
  FileThread(const FileThread&) = delete;
  FileThread& operator=(const FileThread&) = delete;

  class Errand;

 private:
  struct Job {
    std::function<void()> work;
    std::shared_ptr<const OwnedFd> done;
  };
  // What the thread has in common with its users, each of whom may be gone before the others.
  struct Queue {
    std::mutex lock;
    std::condition_variable wake;
    std::deque<Job> jobs;  ///< under lock; at most one for each errand
    bool stopping = false;
  };
  static void serve(Queue& queue);

  std::shared_ptr<Queue> queue_;
};

/// What one user has done by a FileThread, one piece of work at a time. Belongs to the user's
/// thread.
class FileThread::Errand {
 public:
  explicit Errand(FileThread& thread);
  /// Work that has not begun never will; what is under way may go on, and keeps what it captured.
  ~Errand();
  Errand(const Errand&) = delete;
  Errand& operator=(const Errand&) = delete;

  /// An eventfd that is readable once the work is done; -1 where there was no descriptor for it.
  [[nodiscard]] int done_fd() const { return done_->get(); }

  enum class Place : std::uint8_t { first, last };
  /// Has `work` done, before or after what waits already.
  void begin(std::function<void()> work, Place place);
  /// Takes notice that the work is done: before anybody looks at what came of it, or begins more.
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
/// Whether the kernel says that all of it is in the page cache (cachestat, Linux 6.5): a sendfile
/// of anything else would block.
[[nodiscard]] bool in_page_cache(const FileRange& range);
/// Brings the range into the page cache. Where that fails, the sendfile that follows says why.
void read_through(const FileRange& range);

}  // namespace sluice
