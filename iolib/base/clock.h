#pragma once

#include <chrono>

namespace sluice {

/// The clock of all deadlines and durations.
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

}  // namespace sluice
