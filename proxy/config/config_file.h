#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "iolib/base/error.h"
#include "proxy/config/config.h"
#include "proxy/config/options.h"

namespace sluice {

/// The largest configuration file. It leaves ample room for routes, and rejects wrong paths (a log,
/// a disk image) early.
inline constexpr std::size_t kLargestConfigFileBytes = 1 << 20;
/// The longest name of a route: each log line of its connections repeats it.
inline constexpr std::size_t kLongestRouteNameBytes = 64;

/// Reads the TOML file at `path` ("-": stdin). Options in `given` override the file. The error
/// lists all mistakes in the order of the file, one line each: `PATH:LINE:COLUMN: key "KEY": what
/// was wrong, what was expected`. After a syntax error it lists nothing else.
[[nodiscard]] Result<Config> load_config_file(const std::string& path,
                                              std::span<const GivenOption> given);

}  // namespace sluice
