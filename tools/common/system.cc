#include "tools/common/system.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <fstream>

#include "iolib/base/file_identity.h"
#include "iolib/base/owned_fd.h"

namespace sluice {

std::size_t allow_many_descriptors() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return 0;
  const rlim_t before = files.rlim_cur;
  files.rlim_cur = files.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_max : before;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Result<> write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text << std::flush;
  if (!file) return errno_error("write " + path);
  return {};
}

Result<> check_writable(const std::string& path) {
  const OwnedFd made(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (made) {
    unlink_if_same(AT_FDCWD, path, identity_of(made.get()));
    return {};
  }
  if (errno != EEXIST) return errno_error("write " + path);
  // Do not open a FIFO: its reader would see an end of file when it is closed again.
  struct stat found {};
  if (::stat(path.c_str(), &found) == 0 && S_ISFIFO(found.st_mode)) return {};
  const std::ofstream file(path, std::ios::binary | std::ios::app);
  if (!file) return errno_error("write " + path);
  return {};
}

}  // namespace sluice
