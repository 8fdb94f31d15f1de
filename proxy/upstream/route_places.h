#pragma once

#include <atomic>
#include <cstdint>

namespace sluice {

/// Counts the connections of a route against `route-connections`, exactly. All workers share it.
/// Any thread.
class RoutePlaces {
 public:
  /// Takes a place; false if `most` are used.
  [[nodiscard]] bool take(std::uint64_t most) {
    std::uint64_t taken = taken_.load(std::memory_order_relaxed);
    while (taken + others_.load(std::memory_order_relaxed) < most) {
      if (taken_.compare_exchange_weak(taken, taken + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  /// Gives back a place that take() took.
  void give_back() { taken_.fetch_sub(1, std::memory_order_relaxed); }

  /// Those that this process has taken.
  [[nodiscard]] std::uint64_t taken() const { return taken_.load(std::memory_order_relaxed); }
  /// The same, and those that other processes use.
  [[nodiscard]] std::uint64_t used() const {
    return taken() + others_.load(std::memory_order_relaxed);
  }
  /// What processes use that this one has replaced.
  void set_others(std::uint64_t places) { others_.store(places, std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<std::uint64_t> taken_{0};
  std::atomic<std::uint64_t> others_{0};
};

}  // namespace sluice
