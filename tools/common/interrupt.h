#pragma once

namespace sluice {

/// From now on SIGINT, SIGTERM and SIGHUP are remembered instead of ending the program; the second
/// one ends it.
void catch_interrupts();
/// One has come.
[[nodiscard]] bool interrupted();

}  // namespace sluice
