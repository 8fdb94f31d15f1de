#pragma once

#include <cstddef>
#include <string>

#include "iolib/base/error.h"

namespace sluice::capture {

/// The largest file of TLS secrets: about 300,000 TLS 1.3 connections.
inline constexpr std::size_t kMostKeylogBytes = 256 << 20;

/// Reads a file in the format of SSLKEYLOGFILE. Fails if it is larger than kMostKeylogBytes, or has
/// a line that is no secret, so that no other file is published by mistake. Its last line may be
/// incomplete, because a program may be writing it.
[[nodiscard]] Result<std::string> read_keylog(const std::string& path);

}  // namespace sluice::capture
