#pragma once

#include <algorithm>
#include <chrono>

namespace sluice::test {

/// The longest time for which whoever forwards may have seen no byte of a connection, as far as its
/// ends can tell: where the machine stood still, a time-out may have ended the connection as it
/// should. Made before the connection is, or before the half-close from which silence counts.
class Silence {
 public:
  /// Before a message is sent.
  void sending() { sent_ = Clock::now(); }
  /// After it has arrived, or did not, or once the connection was found to stand.
  void looked() {
    longest_ = std::max(longest_, Clock::now() - last_);
    last_ = sent_;
  }
  /// True if a connection that ends after so long may have ended.
  [[nodiscard]] bool reached(std::chrono::nanoseconds timeout) const {
    return longest_ > timeout - kEarly;
  }

 private:
  using Clock = std::chrono::steady_clock;
  /// A timer may fire this much early: the clock is looked at once a turn.
  static constexpr std::chrono::milliseconds kEarly{20};

  Clock::time_point sent_ = Clock::now();
  Clock::time_point last_ = sent_;
  Clock::duration longest_{0};
};

}  // namespace sluice::test
