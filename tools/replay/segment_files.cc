#include "tools/replay/segment_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "iolib/base/text.h"

namespace sluice::replay {
namespace {

constexpr std::uint64_t kReadAhead = 16 << 20;

}  // namespace

Result<int> SegmentFiles::at(std::uint32_t segment, std::uint64_t position) {
  Open& open = open_[segment];
  if (!open.fd) {
    if (order_.size() == kMostOpen) close_oldest();
    Result<OwnedFd> opened = capture::open_segment_file(segments_[segment]);
    while (!opened && opened.error().code == EMFILE && !order_.empty()) {
      close_oldest();
      opened = capture::open_segment_file(segments_[segment]);
    }
    if (!opened) return opened.error();
    if (!*opened) return Error{ENOENT, "open " + one_line(segments_[segment].path)};
    open = {*std::move(opened), position};
    order_.push_back(segment);
  }
  if (position + kReadAhead / 2 > open.ahead || position + 2 * kReadAhead < open.ahead) {
    ::posix_fadvise(open.fd.get(), static_cast<off_t>(position), kReadAhead, POSIX_FADV_WILLNEED);
    open.ahead = position + kReadAhead;
  }
  return {boost::system::in_place_value, open.fd.get()};
}

void SegmentFiles::close_oldest() {
  open_[order_.front()].fd.reset();
  order_.pop_front();
}

Result<> SegmentFiles::read(std::uint32_t segment, std::uint64_t position,
                            std::span<std::byte> into) {
  const Result<int> fd = at(segment, position);
  if (!fd) return fd.error();
  while (!into.empty()) {
    const ssize_t count = ::pread(*fd, into.data(), into.size(), static_cast<off_t>(position));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error("pread " + one_line(segments_[segment].path));
    if (count == 0) return Error{0, one_line(segments_[segment].path) + ": became shorter"};
    into = into.subspan(static_cast<std::size_t>(count));
    position += static_cast<std::uint64_t>(count);
  }
  return {};
}

}  // namespace sluice::replay
