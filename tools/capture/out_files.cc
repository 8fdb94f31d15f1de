#include "tools/capture/out_files.h"

#include <fcntl.h>

#include "tools/capture/out_directory.h"

namespace sluice::capture {

Result<> OutFiles::append(const std::string& name, std::span<const std::byte> bytes) {
  const Result<File*> found = find_or_open(name);
  if (!found) return found.error();
  File& file = **found;
  if (bytes.size() < kDirectBytes) {
    file.gathered.insert(file.gathered.end(), bytes.begin(), bytes.end());
    return file.gathered.size() < kDirectBytes ? Result<>() : flush(file);
  }
  const Result<> flushed = flush(file);
  return flushed ? write_all(file.fd.get(), bytes, name) : flushed;
}

Result<> OutFiles::finish() {
  for (File& file : open_) {
    const Result<> flushed = flush(file);
    if (!flushed) return flushed.error();
  }
  return {};
}

Result<OutFiles::File*> OutFiles::find_or_open(const std::string& name) {
  const auto found = by_name_.find(name);
  if (found != by_name_.end()) {
    open_.splice(open_.begin(), open_, found->second);
    return &open_.front();
  }
  if (open_.size() == kMostOpen) {
    const Result<> flushed = flush(open_.back());
    if (!flushed) return flushed.error();
    by_name_.erase(open_.back().name);
    open_.pop_back();
  }
  const bool is_new = created_.insert(name).second;
  Result<OwnedFd> fd =
      is_new ? create_file(directory_, name)
             : Result<OwnedFd>(OwnedFd(::openat(directory_, name.c_str(),
                                                O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC)));
  if (!fd) return fd.error();
  if (!*fd) return errno_error("open " + name);
  open_.push_front({name, *std::move(fd), {}});
  by_name_[name] = open_.begin();
  return &open_.front();
}

Result<> OutFiles::flush(File& file) {
  const Result<> written = write_all(file.fd.get(), file.gathered, file.name);
  file.gathered.clear();
  return written;
}

}  // namespace sluice::capture
