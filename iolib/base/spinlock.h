#pragma once

#include <atomic>

namespace sluice {

/// A test-and-test-and-set lock for critical sections of a few instructions.
///
/// Waiters read the shared line until it looks free, pausing for twice as long after each failed
/// try, up to kMaxPauses: beyond that a longer wait only adds latency (the section is two pointer
/// writes), and the holder has probably lost its CPU. Meets Lockable.
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
  // Tells the CPU that this is a wait: PAUSE of x86, YIELD of arm64; others have nothing of the
  // kind.
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
