#pragma once

namespace sluice {

/// Whether this thread is within Reactor::run(). What its reactor has been given, and has not given
/// back, must not be destroyed then; a loop that has ended touches none of it any more.
inline constinit thread_local bool loop_runs = false;

}  // namespace sluice
