#pragma once

#include <cstddef>
#include <vector>

#include "proxy/config/config.h"

namespace sluice {

/// The most blocks of a list, and the largest file of one.
inline constexpr std::size_t kMostListedBlocks = 1'000'000;
inline constexpr std::size_t kLargestListBytes = std::size_t{64} << 20;

/// Reads the files of all lists, each once, and sets RouteConfig::clients of every route. Routes
/// with the same lists share theirs. Returns the mistakes in the files.
[[nodiscard]] std::vector<RouteConflict> read_client_lists(Config& config);

}  // namespace sluice
