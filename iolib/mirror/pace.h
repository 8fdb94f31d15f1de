#pragma once

#include <algorithm>
#include <chrono>

#include "iolib/base/clock.h"

namespace sluice::mirror {

/// Whether one more stream may connect to a server. A burst may, then one for each that leaves its
/// place, and two for each of which the server gives a sign of life (it answers the stream, or ends
/// it in order); but where nothing of that happens, as with one that hangs, only one in each
/// interval. Used by one thread; the time is the caller's.
class Pace {
 public:
  static constexpr int kBurst = 256;
  /// Intervals that were missed are made up for, up to this: turns may come late.
  static constexpr Duration kSlack = std::chrono::milliseconds(10);

  explicit Pace(Duration interval) : interval_(interval) {}

  /// Whether one may connect now. It counts then as one that did.
  [[nodiscard]] bool admit(TimePoint now) {
    if (now < next(now)) return false;
    if (credit_ == 0) next_ = std::max(next_, now - kSlack) + interval_;
    credit_ = std::max(credit_ - 1, 0);
    return true;
  }
  /// When the next one may, as far as is known now.
  [[nodiscard]] TimePoint next(TimePoint now) const { return credit_ > 0 ? now : next_; }
  /// For two, so that a server which takes its time gets as many as it can answer before long.
  void sign_of_life() { credit_ = std::min(credit_ + 2, kBurst); }
  void place_left() { credit_ = std::min(credit_ + 1, kBurst); }
  /// Whether half a burst may connect at once.
  [[nodiscard]] bool is_free() const { return credit_ >= kBurst / 2; }

 private:
  Duration interval_;
  int credit_ = kBurst;
  TimePoint next_ = {};
};

}  // namespace sluice::mirror
