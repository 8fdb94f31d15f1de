#pragma once

#include "proxy/config/config.h"

namespace sluice {

/// Runs the daemon until it is told to end; returns the exit status.
[[nodiscard]] int run_server(const Config& config);

/// Says on stdout what this machine makes of `config` (engine, pipes, descriptors, listeners,
/// names); returns 0 if it could run, 1 if not. Starts nothing.
[[nodiscard]] int check_server(const Config& config);

}  // namespace sluice
