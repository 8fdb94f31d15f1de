#pragma once

#include <cstdint>
#include <string>

namespace sluice::capture {

/// Writes a capture of at most a few 100 KiB to `directory`: several runs, workers and connections.
/// Half of the seeds give a torn or damaged one. The same seed gives the same capture.
void write_random_capture(std::uint64_t seed, const std::string& directory);

}  // namespace sluice::capture
