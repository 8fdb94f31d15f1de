#pragma once

#include <chrono>

namespace sluice {

/// The clock of all deadlines and durations.
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

/// A time of the configuration as the clock counts it.
[[nodiscard]] inline Duration to_duration(std::chrono::nanoseconds time) {
  return std::chrono::duration_cast<Duration>(time);
}

}  // namespace sluice
