#include "iolib/base/spinlock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice {
namespace {

TEST(SpinlockTest, ThreadsThatCountUnderItLoseNoCount) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 50'000;
  Spinlock lock;
  long count = 0;  // not atomic: only the lock keeps it right
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const std::lock_guard guard(lock);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, long{kThreads} * kRounds);
}

TEST(SpinlockTest, ThreadsThatOnlyTryLoseNoCountEither) {
  constexpr int kThreads = 4;
  constexpr int kSuccesses = 10'000;
  Spinlock lock;
  long count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int done = 0; done < kSuccesses;) {
        const std::unique_lock guard(lock, std::try_to_lock);
        if (!guard.owns_lock()) continue;
        ++count;
        ++done;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, long{kThreads} * kSuccesses);
}

TEST(SpinlockTest, TryingFailsWhileItIsHeldAndSucceedsAfterwards) {
  Spinlock lock;
  lock.lock();
  bool taken = true;
  std::thread([&] { taken = lock.try_lock(); }).join();
  EXPECT_FALSE(taken);
  lock.unlock();
  std::thread([&] {
    taken = lock.try_lock();
    if (taken) lock.unlock();
  }).join();
  EXPECT_TRUE(taken);
}

TEST(SpinlockTest, AWaiterGetsItOnceItIsGivenBackAndNotBefore) {
  Spinlock lock;
  lock.lock();
  std::atomic<bool> waiting{false};
  std::atomic<bool> got{false};
  std::thread waiter([&] {
    waiting = true;
    lock.lock();
    got = true;
    lock.unlock();
  });
  while (!waiting) std::this_thread::yield();
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();
  EXPECT_FALSE(got);
  lock.unlock();
  waiter.join();
  EXPECT_TRUE(got);
}

}  // namespace
}  // namespace sluice
