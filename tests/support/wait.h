#pragma once

#include <chrono>
#include <thread>

#include "tests/support/settings.h"

namespace sluice::test {

/// Asks `condition` again and again until it is true or `timeout` has passed; returns its last
/// answer.
template <class Condition>
[[nodiscard]] bool wait_until(Condition condition, std::chrono::nanoseconds timeout = kPatience) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return condition();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace sluice::test
