#pragma once

#include <algorithm>
#include <chrono>

#include "iolib/base/clock.h"

namespace sluice::mirror {

/// Limits how fast streams connect to a server. A burst of kBurst may connect at once. Then each
/// stream that leaves its place allows one more. Each sign of life (the server answers a stream, or
/// ends it in order) allows two more. If neither happens, as with a server that hangs, one stream
/// per interval may connect. Used by one thread. The caller passes the time.
class Pace {
 public:
  static constexpr int kBurst = 256;
  /// A turn that comes late makes up for missed intervals, but for no more than this.
  static constexpr Duration kSlack = std::chrono::milliseconds(10);

  explicit Pace(Duration interval) : interval_(interval) {}
  /// From the next stream on.
  void set_interval(Duration interval) { interval_ = interval; }

  /// Whether a stream may connect now. If so, it is counted as connected.
  [[nodiscard]] bool admit(TimePoint now) {
    if (now < next(now)) return false;
    if (credit_ == 0) next_ = std::max(next_, now - kSlack) + interval_;
    credit_ = std::max(credit_ - 1, 0);
    return true;
  }
  /// The earliest time at which the next stream may connect, as far as is known now.
  [[nodiscard]] TimePoint next(TimePoint now) const { return credit_ > 0 ? now : next_; }
  /// Allows two more streams, so that a slow server soon gets as many as it can answer.
  void sign_of_life() { credit_ = std::min(credit_ + 2, kBurst); }
  void place_left() { credit_ = std::min(credit_ + 1, kBurst); }
  /// Whether half a burst could connect at once.
  [[nodiscard]] bool is_free() const { return credit_ >= kBurst / 2; }

 private:
  Duration interval_;
  int credit_ = kBurst;
  TimePoint next_ = {};
};

}  // namespace sluice::mirror
