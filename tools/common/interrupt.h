#pragma once

namespace sluice {

/// From now on the first SIGINT, SIGTERM or SIGHUP is only remembered (see interrupted()); the
/// second one ends the program. Signals that are ignored stay ignored. In child processes that this
/// process forks, later signals do not end the process either.
void catch_interrupts();
/// Whether one of these signals has arrived. Any thread.
[[nodiscard]] bool interrupted();

}  // namespace sluice
