#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "iolib/base/error.h"
#include "proxy/config/config.h"
#include "proxy/config/options.h"

namespace sluice {

/// The routes of any installation fit many times over, and a wrong path (a log, a disk image) is
/// refused before it is read.
inline constexpr std::size_t kLargestConfigFileBytes = 1 << 20;
/// A name is repeated in each of its connections' log lines.
inline constexpr std::size_t kLongestRouteNameBytes = 64;

/// Reads the TOML file at `path`; `given` beats what it says. An error tells all that is wrong, in
/// the order of the file, each on a line,
/// `PATH:LINE:COLUMN: key "KEY": what was wrong, what was expected`. Behind a syntax error nothing
/// is read.
[[nodiscard]] Result<Config> load_config_file(const std::string& path,
                                              std::span<const GivenOption> given);

}  // namespace sluice
