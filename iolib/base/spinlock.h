#pragma once

#include <atomic>

namespace sluice {

/// A test-and-test-and-set lock for critical sections of a few instructions. Meets Lockable.
///
/// A waiter reads the shared line until it looks free. After each failed try it pauses twice as
/// long, up to kMaxPauses. A longer pause would only add latency: the holder only writes two
/// pointers, or has lost its CPU.
class Spinlock {
 public:
  void lock() {
    for (unsigned pauses = 1; !try_lock();) {
      while (locked_.load(std::memory_order_relaxed)) {
        for (unsigned i = 0; i < pauses; ++i) relax();
        if (pauses < kMaxPauses) pauses *= 2;
      }
    }
  }
  [[nodiscard]] bool try_lock() {
    return !locked_.load(std::memory_order_relaxed) &&
           !locked_.exchange(true, std::memory_order_acquire);
  }
  void unlock() { locked_.store(false, std::memory_order_release); }

 private:
  // Tells the CPU that this is a wait loop: PAUSE on x86, YIELD on arm64, nothing elsewhere.
  static void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  static constexpr unsigned kMaxPauses = 64;
  std::atomic<bool> locked_{false};
};

}  // namespace sluice
