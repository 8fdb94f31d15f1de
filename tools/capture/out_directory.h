#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice::capture {

/// The directory at `path`, which is created (0700) or is empty; a symbolic link is refused.
[[nodiscard]] Result<OwnedFd> open_out_directory(const std::string& path);
/// A new file there, 0600.
[[nodiscard]] Result<OwnedFd> create_file(int directory, const std::string& name);
[[nodiscard]] Result<> write_all(int fd, std::span<const std::byte> bytes, const std::string& name);

}  // namespace sluice::capture
