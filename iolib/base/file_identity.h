#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace sluice {

/// Identifies a file independently of its name. The kernel can reuse the numbers only once the file
/// is gone; a file that is open, or that a socket is bound to, keeps them.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// The identity of the file at `path`. A symbolic link is not followed. nullopt on an error, which
/// is in errno.
[[nodiscard]] std::optional<FileIdentity> identity_at(int directory, const std::string& path);
/// The identity of an open file; nullopt on an error. For a unix socket it differs from that of its
/// path.
[[nodiscard]] std::optional<FileIdentity> identity_of(int fd);

/// Removes `path` if it still leads to `identity`. Errors are ignored.
void unlink_if_same(int directory, const std::string& path,
                    const std::optional<FileIdentity>& identity);

}  // namespace sluice
