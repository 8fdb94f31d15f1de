#include "iolib/capture/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "iolib/base/text.h"

namespace sluice::capture {

Result<OwnedFd> open_regular_file(const std::string& path) {
  // Without O_NONBLOCK, opening a FIFO would block forever.
  OwnedFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno_error("open " + one_line(path));
  struct stat about {};
  if (::fstat(fd.get(), &about) != 0) return errno_error("fstat " + one_line(path));
  if (!S_ISREG(about.st_mode)) return Error{0, one_line(path) + ": not a regular file"};
  return fd;
}

Result<std::unique_ptr<Source>> FileSource::open(const std::string& path) {
  Result<OwnedFd> fd = open_regular_file(path);
  if (!fd) return fd.error();
  Result<AlignedBuffer> buffer = AlignedBuffer::allocate(kMaxFrameBytes);
  if (!buffer) return buffer.error();
  return std::unique_ptr<Source>(
      std::make_unique<FileSource>(*std::move(fd), *std::move(buffer), path));
}

Result<std::uint64_t> FileSource::size_bytes() {
  struct stat about {};
  if (::fstat(fd_.get(), &about) != 0) return errno_error("fstat " + one_line(path_));
  return {boost::system::in_place_value, static_cast<std::uint64_t>(about.st_size)};
}

Result<std::span<const std::byte>> FileSource::read(std::uint64_t offset, std::size_t bytes) {
  const std::span<std::byte> to = buffer_.bytes().first(std::min(bytes, buffer_.bytes().size()));
  std::size_t got = 0;
  while (got < to.size()) {
    const ssize_t count =
        ::pread(fd_.get(), to.data() + got, to.size() - got, static_cast<off_t>(offset + got));
    if (count == 0) break;
    if (count < 0 && errno != EINTR) return errno_error("pread " + one_line(path_));
    if (count > 0) got += static_cast<std::size_t>(count);
  }
  return std::span<const std::byte>(to.first(got));
}

void SourceView::forget() {
  bytes_ = {};
  size_is_known_ = false;
}

void SourceView::fail(const Error& error) {
  if (!error_) error_ = error;
  bytes_ = {};
  size_bytes_ = 0;
}

std::uint64_t SourceView::size_bytes() {
  if (size_is_known_ || error_) return size_bytes_;
  const Result<std::uint64_t> size = source_.size_bytes();
  if (!size) {
    fail(size.error());
  } else {
    size_bytes_ = *size;
    size_is_known_ = true;
  }
  return size_bytes_;
}

std::span<const std::byte> SourceView::at(std::uint64_t offset, std::size_t bytes,
                                          std::size_t read_bytes) {
  const std::uint64_t left = size_bytes() - std::min(offset, size_bytes());
  bytes = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, left));
  if (bytes == 0) return {};
  const bool inside = offset >= offset_ && offset - offset_ <= bytes_.size() &&
                      bytes_.size() - (offset - offset_) >= bytes;
  if (!inside) {
    const Result<std::span<const std::byte>> read = source_.read(offset, read_bytes);
    if (!read) {
      fail(read.error());
      return {};
    }
    bytes_ = *read;
    offset_ = offset;
  }
  const auto rest = bytes_.subspan(static_cast<std::size_t>(offset - offset_));
  return rest.first(std::min(bytes, rest.size()));
}

}  // namespace sluice::capture
