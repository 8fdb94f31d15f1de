#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice::capture {

/// Opens the directory at `path`. It is created with mode 0700, or must be empty. A symbolic link
/// is an error.
[[nodiscard]] Result<OwnedFd> open_out_directory(const std::string& path);
/// Creates a new file with mode 0600 in the directory. An existing file is an error.
[[nodiscard]] Result<OwnedFd> create_file(int directory, const std::string& name);
/// Writes all bytes to `fd`. `name` is for the error's text.
[[nodiscard]] Result<> write_all(int fd, std::span<const std::byte> bytes, const std::string& name);

}  // namespace sluice::capture
