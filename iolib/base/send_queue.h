#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

#include "iolib/base/clock.h"

namespace sluice {

/// Looks at a send queue (see send_queue_bytes) again and again while a peer takes what is in it.
class SendQueueWatch {
 public:
  /// So many bytes are queued now. True if that is less than at the last look, or any at the first:
  /// what a slow reader still takes must not be cut by a time-out.
  [[nodiscard]] bool drains(std::uint64_t queued_bytes) {
    const std::uint64_t before = std::exchange(before_bytes_, queued_bytes);
    return before == kNotLooked ? queued_bytes > 0 : queued_bytes < before;
  }
  /// The next look is the first.
  void begin_anew() { before_bytes_ = kNotLooked; }
  /// Until the next look at whether it is empty: twice as long each time.
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
