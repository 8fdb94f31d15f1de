#pragma once

namespace sluice {

/// From now on SIGINT, SIGTERM and SIGHUP are remembered instead of ending the program; the second
/// one ends it. A process that it forks remembers them all, and is ended by none.
void catch_interrupts();
/// One has come.
[[nodiscard]] bool interrupted();

}  // namespace sluice
