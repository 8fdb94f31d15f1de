#pragma once

#include <string>

namespace sluice {

/// The output of --help: each option with its unit, default and bounds.
[[nodiscard]] std::string help_text();
/// The line that a call without arguments prints, without a newline.
[[nodiscard]] std::string usage_line();

}  // namespace sluice
