#pragma once

#include <cstddef>
#include <string>

#include "iolib/base/error.h"

namespace sluice {

/// What a regular file of at most `most` bytes has in it. "-" is standard input, of any kind.
[[nodiscard]] Result<std::string> read_whole_file(const std::string& path, std::size_t most);

}  // namespace sluice
