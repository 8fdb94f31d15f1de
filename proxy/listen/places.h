#pragma once

#include <atomic>
#include <cstdint>

#include "proxy/log/repeated.h"

namespace sluice {

/// Counts clients against --max-connections, and decides when a lack of places or descriptors is
/// logged. All workers share it. Any thread.
class Places {
 public:
  /// `one_by_one`: accept one client at a time, because a burst could take the few descriptors that
  /// the upstreams need.
  Places(std::uint64_t most, bool one_by_one) : most_(most), one_by_one_(one_by_one) {}
  /// Changes both. Clients that have a place keep it.
  void set(std::uint64_t most, bool one_by_one) {
    most_ = most;
    one_by_one_ = one_by_one;
  }

  /// Takes a place; false if none is free.
  [[nodiscard]] bool take() {
    if (taken_.fetch_add(1) < most_) return true;
    taken_.fetch_sub(1);
    return false;
  }
  /// Gives back a place that take() took.
  void give_back() { taken_.fetch_sub(1); }
  [[nodiscard]] std::uint64_t taken() const { return taken_; }
  [[nodiscard]] std::uint64_t most() const { return most_; }
  [[nodiscard]] bool one_by_one() const { return one_by_one_; }

  Repeated full = {};           ///< clients that wait for a place
  Repeated accept_pauses = {};  ///< pauses for lack of descriptors or memory

 private:
  std::atomic<std::uint64_t> most_;
  std::atomic<bool> one_by_one_;
  alignas(64) std::atomic<std::uint64_t> taken_{0};
};

}  // namespace sluice
