#pragma once

#include <algorithm>

#include "iolib/base/clock.h"

namespace sluice::mirror {

/// When streams may connect to a server that gives no sign of life, as one that hangs: at once for
/// a burst, then one in each interval. A sign of life makes up for one of them, so that a server
/// which is well, and has answered or ended all but a burst of what was connected to it, gets every
/// stream at once. (The generic cell rate algorithm, of ITU-T I.371.) Used by one thread; the time
/// is the caller's.
class Pace {
 public:
  static constexpr int kBurst = 256;

  explicit Pace(Duration interval) : interval_(interval) {}

  /// When one more may connect, which counts as if it had: that may be past.
  [[nodiscard]] TimePoint next(TimePoint now) {
    owed_until_ = std::max(owed_until_, now) + interval_;
    return owed_until_ - kBurst * interval_;
  }
  void sign_of_life() { owed_until_ -= interval_; }

 private:
  Duration interval_;
  TimePoint owed_until_ = {};
};

}  // namespace sluice::mirror
