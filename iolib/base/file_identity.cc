#include "iolib/base/file_identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sluice {

std::optional<FileIdentity> identity_at(int directory, const std::string& path) {
  struct stat about {};
  if (::fstatat(directory, path.c_str(), &about, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  return FileIdentity{about.st_dev, about.st_ino};
}

std::optional<FileIdentity> identity_of(int fd) {
  struct stat about {};
  if (::fstat(fd, &about) != 0) return std::nullopt;
  return FileIdentity{about.st_dev, about.st_ino};
}

void unlink_if_same(int directory, const std::string& path,
                    const std::optional<FileIdentity>& identity) {
  if (!identity || identity_at(directory, path) != identity) return;
  static_cast<void>(::unlinkat(directory, path.c_str(), 0));
}

}  // namespace sluice
