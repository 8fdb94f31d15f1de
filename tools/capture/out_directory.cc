#include "tools/capture/out_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "iolib/base/text.h"

namespace sluice::capture {
namespace {

// mkfs creates this in the root of an otherwise empty filesystem.
constexpr std::string_view kLostAndFound = "lost+found";

Result<> check_empty(int directory, const std::string& path) {
  struct Close {
    void operator()(DIR* entries) const { ::closedir(entries); }
  };
  const std::unique_ptr<DIR, Close> entries(::fdopendir(::fcntl(directory, F_DUPFD_CLOEXEC, 0)));
  if (entries == nullptr) return errno_error("open " + one_line(path));
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != ".." && name != kLostAndFound)
      return Error{0, one_line(path) + ": not empty"};
  }
  return {};
}

}  // namespace

Result<OwnedFd> open_out_directory(const std::string& path) {
  constexpr mode_t kMode = 0700;
  if (::mkdir(path.c_str(), kMode) != 0 && errno != EEXIST) {
    return errno_error("mkdir " + one_line(path));
  }
  OwnedFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return errno_error("open " + one_line(path));
  if (const Result<> empty = check_empty(directory.get(), path); !empty) return empty.error();
  return directory;
}

Result<OwnedFd> create_file(int directory, const std::string& name) {
  constexpr mode_t kMode = 0600;
  OwnedFd file(::openat(directory, name.c_str(),
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kMode));
  if (!file) return errno_error("create " + one_line(name));
  return file;
}

Result<> write_all(int fd, std::span<const std::byte> bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno != EINTR) return errno_error("write " + one_line(name));
    if (count > 0) bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

}  // namespace sluice::capture
