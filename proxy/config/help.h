#pragma once

#include <string>

namespace sluice {

/// Everything that --help prints: each option with its unit, default and bounds.
[[nodiscard]] std::string help_text();
/// One line for who called without arguments.
[[nodiscard]] std::string usage_line();

}  // namespace sluice
