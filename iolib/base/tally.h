#pragma once

#include <atomic>
#include <cstdint>

namespace sluice {

/// A number that one thread changes and any thread may read. A change costs a load and a store:
/// with one writer no locked instruction is needed.
class Tally {
 public:
  void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(std::uint64_t amount = 1) { set(get() + amount); }
  /// Below zero it wraps around. Where several threads keep tallies of the same thing, their sum is
  /// right all the same.
  void subtract(std::uint64_t amount = 1) { set(get() - amount); }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }
  // NOLINTNEXTLINE(google-explicit-constructor): it is read like a number
  operator std::uint64_t() const { return get(); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace sluice
