#pragma once

#include <string>
#include <vector>

#include "proxy/config/config.h"

namespace sluice {

/// Runs the daemon until a signal ends it. `arguments`: the command line, from which a reload reads
/// the configuration again. Returns the exit status.
[[nodiscard]] int run_server(const Invocation& invocation, std::vector<std::string> arguments);

/// Checks `config` against this machine and prints what it finds to stdout (engine, pipes,
/// descriptors, listeners, names). Returns 0 if the daemon could run, otherwise 1. Starts nothing.
[[nodiscard]] int check_server(const Config& config);

}  // namespace sluice
