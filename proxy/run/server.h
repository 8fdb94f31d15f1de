#pragma once

#include "proxy/config/config.h"

namespace sluice {

/// Runs the daemon until a signal ends it. Returns the exit status. `takes_over`: from the process
/// that runs.
[[nodiscard]] int run_server(const Config& config, bool takes_over);

/// Checks `config` against this machine and prints what it finds to stdout (engine, pipes,
/// descriptors, listeners, names). Returns 0 if the daemon could run, otherwise 1. Starts nothing.
[[nodiscard]] int check_server(const Config& config);

}  // namespace sluice
