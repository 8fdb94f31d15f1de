#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace sluice {

/// Which file it is, whatever its name. A number is given anew only once the file is gone: while
/// somebody has it open, or a socket is bound to it, it means that file.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// What stands at `path`, itself if it is a symbolic link; none if nothing does, or nobody can
/// tell: errno says which.
[[nodiscard]] std::optional<FileIdentity> identity_at(int directory, const std::string& path);
/// Of an open file. A socket's is not that of its path.
[[nodiscard]] std::optional<FileIdentity> identity_of(int fd);

/// Removes `path` unless another file has taken it.
void unlink_if_same(int directory, const std::string& path,
                    const std::optional<FileIdentity>& identity);

}  // namespace sluice
