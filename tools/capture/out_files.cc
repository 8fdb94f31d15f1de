#include "tools/capture/out_files.h"

#include <fcntl.h>

#include <optional>
#include <utility>

#include "iolib/base/file_identity.h"
#include "tools/capture/out_directory.h"

namespace sluice::capture {

class OutFiles::File {
 public:
  explicit File(std::string name) : name_(std::move(name)) {}

 private:
  friend class OutFiles;
  std::string name_;
  std::optional<FileIdentity> created_;
  OwnedFd fd_;
  std::vector<std::byte> gathered_;
  std::list<File*>::iterator place_;  // in open_; valid while fd_ is open
};

OutFiles::OutFiles(int directory) : directory_(directory) {}
OutFiles::~OutFiles() = default;

OutFiles::File& OutFiles::add(std::string name) { return files_.emplace_back(std::move(name)); }

const std::string& OutFiles::name(const File& file) { return file.name_; }

Result<> OutFiles::append(File& file, std::span<const std::byte> bytes) {
  if (file.fd_) {
    open_.splice(open_.begin(), open_, file.place_);
  } else if (const Result<> opened = open(file); !opened) {
    return opened;
  }
  // At most kDirectBytes are buffered, because a vector that grows is copied.
  if (file.gathered_.size() + bytes.size() >= kDirectBytes) {
    if (const Result<> flushed = flush(file); !flushed) return flushed;
    if (bytes.size() >= kDirectBytes) return write_all(file.fd_.get(), bytes, file.name_);
  }
  file.gathered_.insert(file.gathered_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<> OutFiles::finish() {
  for (File* file : open_) {
    const Result<> flushed = flush(*file);
    if (!flushed) return flushed.error();
  }
  return {};
}

Result<> OutFiles::open(File& file) {
  if (open_.size() == kMostOpen) {
    File& last = *open_.back();
    const Result<> flushed = flush(last);
    if (!flushed) return flushed.error();
    last.fd_.reset();
    last.gathered_ = {};
    open_.pop_back();
  }
  Result<OwnedFd> fd =
      file.created_
          ? Result<OwnedFd>(OwnedFd(::openat(directory_, file.name_.c_str(),
                                             O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC)))
          : create_file(directory_, file.name_);
  if (!fd) return fd.error();
  if (!*fd) return errno_error("open " + file.name_);
  const std::optional<FileIdentity> opened = identity_of(fd->get());
  if (file.created_ && opened != file.created_) {
    return Error{0, file.name_ + ": another file has taken its place"};
  }
  file.created_ = opened;
  file.fd_ = *std::move(fd);
  open_.push_front(&file);
  file.place_ = open_.begin();
  return {};
}

Result<> OutFiles::flush(File& file) {
  const Result<> written = write_all(file.fd_.get(), file.gathered_, file.name_);
  file.gathered_.clear();
  return written;
}

}  // namespace sluice::capture
