#pragma once

#include <algorithm>

#include "iolib/base/clock.h"

namespace sluice::mirror {

/// Whether one more stream may connect to a server. A burst may, and twice as many as the server
/// gives signs of life (it answers a stream, or ends it); but where it gives none, as one that
/// hangs, only one in each interval. Used by one thread; the time is the caller's.
class Pace {
 public:
  static constexpr int kBurst = 256;

  explicit Pace(Duration interval) : interval_(interval) {}

  /// Whether one may connect now. It counts then as one that did.
  [[nodiscard]] bool admit(TimePoint now) {
    if (now < next(now)) return false;
    if (credit_ == 0) next_ = now + interval_;
    credit_ = std::max(credit_ - 1, 0);
    return true;
  }
  /// When the next one may, if there is no sign of life before.
  [[nodiscard]] TimePoint next(TimePoint now) const { return credit_ > 0 ? now : next_; }
  /// Two, so that a server which takes its time gets as many streams as it can answer before long.
  void sign_of_life() { credit_ = std::min(credit_ + 2, kBurst); }

 private:
  Duration interval_;
  int credit_ = kBurst;
  TimePoint next_ = {};
};

}  // namespace sluice::mirror
