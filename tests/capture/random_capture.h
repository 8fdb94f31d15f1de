#pragma once

#include <cstdint>
#include <string>

namespace sluice::capture {

/// Writes a capture of a few 100 KiB at most to `directory`: several runs, workers and connections,
/// in half of the cases torn or damaged. The same from the same seed.
void write_random_capture(std::uint64_t seed, const std::string& directory);

}  // namespace sluice::capture
