#pragma once

#include <atomic>
#include <cstdint>

namespace sluice {

/// Counts the connections of a route against `route-connections`, exactly. All workers share it.
/// Any thread.
class RoutePlaces {
 public:
  /// Takes a place; false if `most` are taken.
  [[nodiscard]] bool take(std::uint64_t most) {
    std::uint64_t taken = taken_.load(std::memory_order_relaxed);
    while (taken < most) {
      if (taken_.compare_exchange_weak(taken, taken + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  /// Gives back a place that take() took.
  void give_back() { taken_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<std::uint64_t> taken_{0};
};

}  // namespace sluice
