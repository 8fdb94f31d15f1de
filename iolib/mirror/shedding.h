#pragma once

#include <atomic>
#include <cstdint>

namespace sluice::mirror {

/// Whether new connections are kept away from a server because streams lag: all or none, on every
/// thread that mirrors to the server. Any thread.
class Shedding {
 public:
  [[nodiscard]] bool active() const {
    return (state_.load(std::memory_order_relaxed) & kActive) != 0;
  }
  /// One more stream is behind: its server does not take the bytes as fast as they come.
  void fell_behind() { state_.fetch_add(1, std::memory_order_relaxed); }
  /// One stream fewer is behind. Returns true if it was the last one and shedding ends.
  [[nodiscard]] bool caught_up() {
    std::uint64_t before = state_.load(std::memory_order_relaxed);
    while (!state_.compare_exchange_weak(before, after_catching_up(before),
                                         std::memory_order_relaxed)) {
    }
    return before == (kActive | 1);
  }
  /// Begins shedding if any stream is behind. Returns true if shedding begins now.
  [[nodiscard]] bool begin() {
    std::uint64_t before = state_.load(std::memory_order_relaxed);
    while (before != 0 && (before & kActive) == 0) {
      if (state_.compare_exchange_weak(before, before | kActive, std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

 private:
  // One word holds both, so that shedding cannot begin just after the last stream has caught up:
  // nothing would end it.
  static constexpr std::uint64_t kActive = std::uint64_t{1} << 63;
  static std::uint64_t after_catching_up(std::uint64_t state) {
    return state == (kActive | 1) ? 0 : state - 1;
  }

  std::atomic<std::uint64_t> state_{0};  ///< number of streams that are behind, and kActive
};

}  // namespace sluice::mirror
