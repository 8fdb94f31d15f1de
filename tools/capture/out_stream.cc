#include "tools/capture/out_stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "iolib/base/file_identity.h"
#include "iolib/base/text.h"
#include "tools/capture/out_directory.h"

namespace sluice::capture {

namespace {

// A pipe or a device has no contents to overwrite, and must not be removed. A shell passes >(…) as
// /dev/fd/63, for example.
bool is_pipe_or_device(const std::string& path) {
  struct stat about {};
  return ::stat(path.c_str(), &about) == 0 && (S_ISFIFO(about.st_mode) || S_ISCHR(about.st_mode));
}

}  // namespace

Result<std::unique_ptr<OutStream>> OutStream::open(const std::string& path) {
  if (path == "-") return std::make_unique<OutStream>(STDOUT_FILENO, OwnedFd(), "stdout");
  const bool stays = is_pipe_or_device(path);
  Result<OwnedFd> file =
      stays ? Result<OwnedFd>(OwnedFd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY)))
            : create_file(AT_FDCWD, path);
  if (!file) return file.error();
  if (!*file) return errno_error("open " + one_line(path));
  const int fd = file->get();
  auto stream = std::make_unique<OutStream>(fd, *std::move(file), path);
  stream->stays_ = stays;
  return stream;
}

OutStream::OutStream(int fd, OwnedFd owned, std::string name)
    : fd_(fd), owned_(std::move(owned)), name_(std::move(name)) {
  buffer_.reserve(kBufferBytes);
}

OutStream::~OutStream() {
  if (owned_ && !stays_) unlink_if_same(AT_FDCWD, name_, identity_of(owned_.get()));
}

void OutStream::append(std::span<const std::byte> bytes) {
  bytes_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() <= kBufferBytes) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  } else if (!error_) {
    const Result<> written = write_all(fd_, bytes, name_);
    if (!written) error_ = written.error();
  }
}

Result<> OutStream::status() const { return error_ ? Result<>(*error_) : Result<>(); }

Result<> OutStream::finish() {
  stays_ = true;
  flush();
  return status();
}

void OutStream::flush() {
  if (!error_) {
    const Result<> written = write_all(fd_, buffer_, name_);
    if (!written) error_ = written.error();
  }
  buffer_.clear();
}

}  // namespace sluice::capture
