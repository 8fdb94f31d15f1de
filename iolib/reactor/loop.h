#pragma once

namespace sluice {

/// Whether this thread is within Reactor::run(). While it is true, an object that the reactor uses
/// (a set timer, a request in flight) must not be destroyed. After the loop ends, the reactor no
/// longer touches such objects.
inline constinit thread_local bool loop_runs = false;

}  // namespace sluice
