#include "proxy/file_thread.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace sluice {
namespace {

// cachestat(2) is newer than the C library's headers; the number is the same on all architectures.
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

// Reading is what brings a range into the page cache; what was read is thrown away.
void read_through(const FileThread::Range& range) {
  const auto waste = std::make_unique_for_overwrite<char[]>(kReadBytes);
  for (std::size_t done = 0; done < range.size_bytes;) {
    const std::size_t ask = std::min(kReadBytes, range.size_bytes - done);
    const auto offset = static_cast<off_t>(range.offset + done);
    const ssize_t got = ::pread(range.file, waste.get(), ask, offset);
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
}

}  // namespace

bool FileThread::ReadIn::await_ready() const {
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  CachestatRange range{range_.offset, range_.size_bytes};
  Cachestat found{};
  if (::syscall(kCachestat, range_.file, &range, &found, 0) != 0) return false;
  const std::uint64_t first = range_.offset / page;
  const std::uint64_t last = (range_.offset + range_.size_bytes - 1) / page;
  return found.cached >= last - first + 1;
}

void FileThread::ReadIn::await_suspend(std::coroutine_handle<> waiter) {
  files_.submit({[range = range_] { read_through(range); }, &reactor_, waiter}, Place::last);
}

FileThread::FileThread() : thread_([this] { serve(); }) {}

FileThread::~FileThread() {
  {
    const std::lock_guard guard(lock_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void FileThread::submit(Job job, Place place) {
  {
    const std::lock_guard guard(lock_);
    jobs_.insert(place == Place::first ? jobs_.begin() : jobs_.end(), std::move(job));
  }
  wake_.notify_one();
}

void FileThread::serve() {
  std::unique_lock guard(lock_);
  for (;;) {
    wake_.wait(guard, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    const Job job = std::move(jobs_.front());
    jobs_.pop_front();
    guard.unlock();
    job.work();
    job.reactor->post([waiter = job.waiter] { waiter.resume(); });
    guard.lock();
  }
}

}  // namespace sluice
