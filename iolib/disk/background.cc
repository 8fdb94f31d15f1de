#include "iolib/disk/background.h"

#include <utility>

#include "iolib/base/shortage.h"

namespace sluice {

BackgroundThreads::BackgroundThreads(std::size_t threads) {
  threads_.reserve(threads);
  try {
    for (std::size_t i = 0; i < threads; ++i) {
      threads_.push_back(start_thread([this] { serve(); }));
    }
  } catch (...) {
    end();
    throw;
  }
}

BackgroundThreads::~BackgroundThreads() { end(); }

void BackgroundThreads::end() {
  {
    const std::lock_guard guard(lock_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void BackgroundThreads::submit(std::function<void()> job) {
  {
    const std::lock_guard guard(lock_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void BackgroundThreads::serve() {
  std::unique_lock guard(lock_);
  for (;;) {
    wake_.wait(guard, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    const std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    guard.unlock();
    job();
    guard.lock();
  }
}

}  // namespace sluice
