#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

#include "iolib/base/clock.h"

namespace sluice {

/// Tells whether a peer still drains a socket's send queue (see send_queue_bytes()). The owner
/// reports the queue's size at each look.
class SendQueueWatch {
 public:
  /// Reports that `queued_bytes` are in the queue now. True if that is less than at the last look;
  /// at the first look, true if it is not 0. While it is true, a time-out must not cut the
  /// connection.
  [[nodiscard]] bool drains(std::uint64_t queued_bytes) {
    const std::uint64_t before = std::exchange(before_bytes_, queued_bytes);
    return before == kNotLooked ? queued_bytes > 0 : queued_bytes < before;
  }
  /// Makes the next look the first one.
  void begin_anew() { before_bytes_ = kNotLooked; }
  /// How long to wait before the next look at the queue: kFirstPause, then twice as long each time,
  /// at most kLongestPause.
  [[nodiscard]] Duration pause() {
    return std::exchange(pause_, std::min(2 * pause_, kLongestPause));
  }

  static constexpr Duration kFirstPause = std::chrono::milliseconds(1);
  static constexpr Duration kLongestPause = std::chrono::milliseconds(50);

 private:
  static constexpr std::uint64_t kNotLooked = ~std::uint64_t{0};
  std::uint64_t before_bytes_ = kNotLooked;
  Duration pause_ = kFirstPause;
};

}  // namespace sluice
