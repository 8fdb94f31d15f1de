#pragma once

#include <cstddef>
#include <string>

#include "iolib/base/error.h"

namespace sluice {

/// Raises the soft limit on open files to the hard limit. Returns the limit that then applies; 0 if
/// it is unknown.
std::size_t allow_many_descriptors();

/// The current time as "2026-11-24T09:30:00Z".
[[nodiscard]] std::string utc_now();

/// Replaces the file's contents with `text`, or creates the file.
[[nodiscard]] Result<> write_file(const std::string& path, const std::string& text);
/// Checks whether write_file() can open the file. An existing file stays as it is; no new file is
/// left behind.
[[nodiscard]] Result<> check_writable(const std::string& path);

}  // namespace sluice
