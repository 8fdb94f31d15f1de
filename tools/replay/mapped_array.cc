#include "tools/replay/mapped_array.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "iolib/base/text.h"

namespace sluice::replay {
namespace {

// The least and the most that a file grows at once. Between them, it grows by half.
constexpr std::size_t kLeastStep = 1 << 20;
constexpr std::size_t kMostStep = 256 << 20;

Result<OwnedFd> open_nameless() {
  const char* set = ::getenv("TMPDIR");
  const std::string directory = set != nullptr && *set != '\0' ? set : "/var/tmp";
  OwnedFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) return fd;
  // Not every filesystem has O_TMPFILE.
  std::string path = directory + "/sluice-replay-XXXXXX";
  fd.reset(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) return errno_error("create a file in " + one_line(directory));
  ::unlink(path.c_str());
  return fd;
}

}  // namespace

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_bytes_);
}

Result<> MappedFile::grow(std::size_t size_bytes) {
  if (!fd_) {
    Result<OwnedFd> opened = open_nameless();
    if (!opened) return opened.error();
    fd_ = *std::move(opened);
  }
  const std::size_t step = std::clamp(size_bytes_ / 2, kLeastStep, kMostStep);
  const std::size_t wanted =
      (std::max(size_bytes, size_bytes_ + step) + kLeastStep - 1) / kLeastStep * kLeastStep;
  // Allocate the space: a write to a hole on a full disk would raise SIGBUS.
  const int error = ::posix_fallocate(fd_.get(), static_cast<off_t>(size_bytes_),
                                      static_cast<off_t>(wanted - size_bytes_));
  if (error != 0) return Error{error, "reserve room for the index, in $TMPDIR or /var/tmp"};
  void* mapped = data_ == nullptr
                     ? ::mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0)
                     : ::mremap(data_, size_bytes_, wanted, MREMAP_MAYMOVE);
  if (mapped == MAP_FAILED) return errno_error("mmap");
  data_ = static_cast<std::byte*>(mapped);
  size_bytes_ = wanted;
  return {};
}

}  // namespace sluice::replay
