#include "tools/capture/out_files.h"

#include <fcntl.h>

#include <optional>
#include <utility>

#include "iolib/base/file_identity.h"
#include "tools/capture/out_directory.h"

namespace sluice::capture {

struct OutFiles::File {
  std::string name;
  std::optional<FileIdentity> created;
  OwnedFd fd;
  std::vector<std::byte> gathered;
  std::list<File*>::iterator place;  // in open_; valid while fd is open
};

OutFiles::OutFiles(int directory) : directory_(directory) {}
OutFiles::~OutFiles() = default;

OutFiles::File& OutFiles::add(std::string name) {
  File& file = files_.emplace_back();
  file.name = std::move(name);
  return file;
}

const std::string& OutFiles::name(const File& file) { return file.name; }

Result<> OutFiles::append(File& file, std::span<const std::byte> bytes) {
  if (file.fd) {
    open_.splice(open_.begin(), open_, file.place);
  } else if (const Result<> opened = open(file); !opened) {
    return opened;
  }
  // At most kDirectBytes are buffered, because a vector that grows is copied.
  if (file.gathered.size() + bytes.size() >= kDirectBytes) {
    if (const Result<> flushed = flush(file); !flushed) return flushed;
    if (bytes.size() >= kDirectBytes) return write_all(file.fd.get(), bytes, file.name);
  }
  file.gathered.insert(file.gathered.end(), bytes.begin(), bytes.end());
  return {};
}

Result<> OutFiles::finish() {
  for (File* file : open_) {
    if (const Result<> flushed = flush(*file); !flushed) return flushed.error();
  }
  return {};
}

Result<> OutFiles::open(File& file) {
  if (open_.size() == kMostOpen) {
    File& last = *open_.back();
    if (const Result<> flushed = flush(last); !flushed) return flushed.error();
    last.fd.reset();
    last.gathered = {};
    open_.pop_back();
  }
  Result<OwnedFd> fd =
      file.created
          ? Result<OwnedFd>(OwnedFd(::openat(directory_, file.name.c_str(),
                                             O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC)))
          : create_file(directory_, file.name);
  if (!fd) return fd.error();
  if (!*fd) return errno_error("open " + file.name);
  const std::optional<FileIdentity> opened = identity_of(fd->get());
  if (file.created && opened != file.created) {
    return Error{0, file.name + ": another file has taken its place"};
  }
  file.created = opened;
  file.fd = *std::move(fd);
  open_.push_front(&file);
  file.place = open_.begin();
  return {};
}

Result<> OutFiles::flush(File& file) {
  const Result<> written = write_all(file.fd.get(), file.gathered, file.name);
  file.gathered.clear();
  return written;
}

}  // namespace sluice::capture
