#pragma once

#include <cstddef>
#include <string>

#include "iolib/base/error.h"

namespace sluice {

/// Raises the limit of open files as far as this process may; returns what it is then.
std::size_t allow_many_descriptors();

/// "2026-11-24T09:30:00Z"
[[nodiscard]] std::string utc_now();

/// Replaces the file's contents.
[[nodiscard]] Result<> write_file(const std::string& path, const std::string& text);
/// Whether write_file() may work later. Leaves a file that there is as it is, and none where there
/// was none.
[[nodiscard]] Result<> check_writable(const std::string& path);

}  // namespace sluice
