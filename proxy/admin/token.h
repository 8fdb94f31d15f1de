#pragma once

#include <string>

#include "iolib/base/error.h"

namespace sluice::admin {

/// Reads a token from a file: one line of 32 to 1024 letters, digits and -._~+/= (RFC 6750). An
/// error if the file has another content, or if others than its owner and group may read it.
[[nodiscard]] Result<std::string> read_token(const std::string& path);

}  // namespace sluice::admin
