#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/support/settings.h"

namespace sluice::test {

/// Calls `condition` again and again until it is true or `timeout` has passed, and returns its last
/// answer. Between two calls it sleeps about as long as one takes.
template <class Condition>
[[nodiscard]] bool wait_until(Condition condition, std::chrono::nanoseconds timeout = kPatience) {
  using Clock = std::chrono::steady_clock;
  auto asked = Clock::now();
  const auto deadline = asked + timeout;
  while (!condition()) {
    const auto answered = Clock::now();
    if (answered >= deadline) return condition();
    std::this_thread::sleep_for(std::clamp<Clock::duration>(
        answered - asked, std::chrono::milliseconds(2), std::chrono::milliseconds(100)));
    asked = Clock::now();
  }
  return true;
}

}  // namespace sluice::test
