#pragma once

#include <chrono>

namespace sluice {

/// The one clock of deadlines and durations.
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

}  // namespace sluice
