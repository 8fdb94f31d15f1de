#pragma once

#include <string>

namespace sluice::capture {

/// Writes the captures of tests/capture/golden/ into `directory`, each in its own folder.
void write_golden_captures(const std::string& directory);

}  // namespace sluice::capture
