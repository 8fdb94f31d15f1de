#include "proxy/config/whole_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "iolib/base/owned_fd.h"

namespace sluice {

Result<std::string> read_whole_file(const std::string& path, std::size_t most) {
  // Without O_NONBLOCK, open() of a FIFO would wait for a writer.
  const bool is_stdin = path == "-";
  const OwnedFd fd(is_stdin ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                            : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return errno_error("cannot open");
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return errno_error("fstat");
  if (S_ISDIR(status.st_mode)) return Error{0, "is a directory"};
  if (!is_stdin && !S_ISREG(status.st_mode)) return Error{0, "is not a regular file"};
  // Read one byte more than is there, and than is allowed, to detect a file that grows meanwhile.
  constexpr std::size_t kLeast = 64 << 10;
  std::string content;
  std::size_t length = 0;
  content.resize(std::min(most, std::max(kLeast, static_cast<std::size_t>(status.st_size))) + 1);
  for (;;) {
    const ssize_t count = ::read(fd.get(), content.data() + length, content.size() - length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error("cannot read");
    if (count == 0) break;
    length += static_cast<std::size_t>(count);
    if (length > most) return Error{0, "is too large"};
    if (length == content.size()) content.resize(std::min(2 * length, most + 1));
  }
  content.resize(length);
  return content;
}

}  // namespace sluice
