#pragma once

#include <string>

namespace sluice::capture {

/// Writes the captures that tests/capture/golden/ holds, each to a folder of its own in
/// `directory`.
void write_golden_captures(const std::string& directory);

}  // namespace sluice::capture
