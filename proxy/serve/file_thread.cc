#include "proxy/serve/file_thread.h"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "iolib/base/shortage.h"

namespace sluice {
namespace {

// cachestat(2) is newer than the C library's headers. Its number is the same on all architectures.
constexpr long kCachestat = 451;
struct CachestatRange {
  std::uint64_t offset;
  std::uint64_t length;
};
struct Cachestat {
  std::uint64_t cached;
  std::uint64_t dirty;
  std::uint64_t writeback;
  std::uint64_t evicted;
  std::uint64_t recently_evicted;
};

constexpr std::size_t kReadBytes = 256 << 10;

}  // namespace

bool in_page_cache(const FileRange& range) {
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  CachestatRange asked{range.offset, range.size_bytes};
  Cachestat found{};
  if (::syscall(kCachestat, range.file, &asked, &found, 0) != 0) return false;
  const std::uint64_t first = range.offset / page;
  const std::uint64_t last = (range.offset + range.size_bytes - 1) / page;
  return found.cached >= last - first + 1;
}

// Reads the range and discards the data: reading brings it into the page cache.
void read_through(const FileRange& range) {
  const auto waste = std::make_unique_for_overwrite<char[]>(kReadBytes);
  for (std::size_t done = 0; done < range.size_bytes;) {
    const std::size_t ask = std::min(kReadBytes, range.size_bytes - done);
    const auto offset = static_cast<off_t>(range.offset + done);
    const ssize_t got = ::pread(range.file, waste.get(), ask, offset);
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
}

FileThread::FileThread() : queue_(std::make_shared<Queue>()) {
  start_thread([queue = queue_] { serve(*queue); }).detach();
}

FileThread::~FileThread() {
  const std::lock_guard guard(queue_->lock);
  queue_->stopping = true;
  queue_->wake.notify_one();
}

void FileThread::serve(Queue& queue) {
  std::unique_lock guard(queue.lock);
  for (;;) {
    queue.wake.wait(guard, [&queue] { return queue.stopping || !queue.jobs.empty(); });
    if (queue.stopping) return;
    Job job = std::move(queue.jobs.front());
    queue.jobs.pop_front();
    guard.unlock();
    job.work();
    job.work = nullptr;
    static_cast<void>(::eventfd_write(job.done->get(), 1));
    guard.lock();
  }
}

FileThread::Errand::Errand(FileThread& thread)
    : queue_(thread.queue_),
      done_(std::make_shared<OwnedFd>(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))) {}

FileThread::Errand::~Errand() {
  const std::lock_guard guard(queue_->lock);
  std::erase_if(queue_->jobs, [this](const Job& job) { return job.done == done_; });
}

void FileThread::Errand::begin(std::function<void()> work, Place place) {
  const std::lock_guard guard(queue_->lock);
  std::deque<Job>& jobs = queue_->jobs;
  jobs.insert(place == Place::first ? jobs.begin() : jobs.end(), Job{std::move(work), done_});
  queue_->wake.notify_one();
}

void FileThread::Errand::finish() {
  eventfd_t count = 0;
  static_cast<void>(::eventfd_read(done_->get(), &count));
}

}  // namespace sluice
