#pragma once

#include <chrono>

namespace sluice::bench {

/// From now on SIGINT, SIGTERM and SIGHUP are remembered instead of ending the program.
void catch_interrupts();
/// One has come.
[[nodiscard]] bool interrupted();
/// Throws Interrupted if one has come.
void check_interrupted();

}  // namespace sluice::bench
