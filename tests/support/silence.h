#pragma once

#include <algorithm>
#include <chrono>

namespace sluice::test {

/// The longest time in which the forwarder may have seen no byte of a connection, judged from the
/// ends. If the machine stood still for that long, a time-out may rightly have ended the
/// connection. Create it before the connection, or before the half-close from which silence counts.
class Silence {
 public:
  /// Call before a message is sent.
  void sending() { sent_ = Clock::now(); }
  /// Call once the message has arrived or is given up, or the connection is found to be
  /// established.
  void looked() {
    longest_ = std::max(longest_, Clock::now() - last_);
    last_ = sent_;
  }
  /// True if a time-out of this length may have ended the connection.
  [[nodiscard]] bool reached(std::chrono::nanoseconds timeout) const {
    return longest_ > timeout - kEarly;
  }

 private:
  using Clock = std::chrono::steady_clock;
  /// A timer may fire this much early, since the clock is read once a turn.
  static constexpr std::chrono::milliseconds kEarly{20};

  Clock::time_point sent_ = Clock::now();
  Clock::time_point last_ = sent_;
  Clock::duration longest_{0};
};

}  // namespace sluice::test
