#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "iolib/base/aligned_buffer.h"
#include "iolib/base/clock.h"
#include "iolib/base/units.h"
#include "proxy/taps/capture_directories.h"

namespace sluice {
namespace {

using capture::SegmentName;
using capture::SegmentState;
using capture::Store;

constexpr std::size_t kProbeWrites = 16;
constexpr std::size_t kProbeBytes = 4096;

// The median time of kProbeWrites durable writes. At before-forward, recording uses RWF_DSYNC; at
// the other levels it syncs the file.
Result<std::chrono::nanoseconds> time_durable_write(const Directory& directory, int file,
                                                    capture::Durability durability) {
  const int flags = durability == capture::Durability::before_forward ? RWF_DSYNC : 0;
  const std::size_t step = std::max(kProbeBytes, directory.grid_bytes());
  Result<AlignedBuffer> buffer = AlignedBuffer::allocate(step);
  if (buffer.has_error()) return buffer.error();
  std::array<std::chrono::nanoseconds, kProbeWrites> times{};
  for (std::size_t i = 0; i < kProbeWrites; ++i) {
    const TimePoint began = Clock::now();
    const iovec part{buffer->bytes().data(), step};
    if (::pwritev2(file, &part, 1, static_cast<off_t>(i * step), flags) < 0) {
      return errno_error("write " + directory.path());
    }
    if (flags == 0 && ::fdatasync(file) < 0) return errno_error("sync " + directory.path());
    times[i] = Clock::now() - began;
  }
  std::ranges::sort(times);
  return times[times.size() / 2];
}

// Creates a segment as the daemon does, writes to it, and seals it.
Result<std::string> probe_segment(Directory& directory, const CaptureConfig& config,
                                  std::size_t workers) {
  const std::uint64_t most_bytes = config.segment_size_bytes;
  const Result<std::uint64_t> free = directory.free_bytes();
  if (free.has_error() && free.error().code != ENODATA) return free.error();
  Store store(directory, {});
  const SegmentName name{"probe", 0, 0, SegmentState::open};
  const Result<Store::NewSegment> made = store.create(name, most_bytes);
  if (made.has_error()) return made.error();
  const Result<std::chrono::nanoseconds> time =
      time_durable_write(directory, made->file, config.durability);
  const Result<> sealed = store.seal(made->file, name, kProbeWrites * directory.grid_bytes());
  if (time.has_error()) return time.error();
  if (sealed.has_error()) return sealed.error();
  std::string found =
      ", a durable write of 4 KiB takes " + std::to_string(time->count() / 1000) + " us";
  // Each worker creates a segment at the start, and no segment takes more than half of the free
  // space.
  if (free.has_value() && (made->size_bytes < most_bytes || *free / most_bytes <= workers)) {
    found += ", " + format_size_bytes(*free >> 20 << 20) + " free for " + std::to_string(workers) +
             (workers == 1 ? " worker" : " workers") + ": segments smaller than " +
             format_size_bytes(most_bytes);
  }
  return found;
}

Result<std::string> probe_directory(const std::string& path, const CaptureConfig& config,
                                    std::size_t workers) {
  Result<std::unique_ptr<Directory>> directory = Directory::open(path, capture_mode(config));
  if (directory.has_error()) return directory.error();
  Result<std::string> segment = probe_segment(**directory, config, workers);
  if (segment.has_error()) return segment.error();
  const bool buffered = config.capture_io == CaptureIo::buffered;
  return std::string((*directory)->direct() ? "O_DIRECT"
                     : buffered             ? "buffered writes, as configured"
                                            : "no O_DIRECT, buffered writes") +
         ", alignment " + std::to_string((*directory)->grid_bytes()) + *segment;
}

// Opens what a start opens in an existing directory: the directory, its lock, and segments that a
// crash left open.
Result<> probe_existing(const std::string& path) {
  const OwnedFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return errno_error("open " + path);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    const std::string name = entry.path().filename();
    const auto segment = capture::parse_segment_name(name);
    if (name != "lock" && !(segment && segment->state == SegmentState::open)) continue;
    const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    const OwnedFd file(::openat(directory.get(), name.c_str(), flags));
    // A running daemon can have renamed the segment meanwhile.
    if (!file && errno != ENOENT) return errno_error("open " + entry.path().string());
  }
  if (error) return Error{error.value(), "read " + path};
  return {};
}

bool is_shortage(const Error& error) { return error.code == ENOSPC || error.code == EDQUOT; }

}  // namespace

// Probes in a new directory inside the capture directory or, if that does not exist yet, beside it,
// so that a running daemon is not disturbed.
Result<std::string> probe_capture(const CaptureConfig& config, std::size_t workers) {
  const std::string path = config.capture.substr(0, config.capture.find_last_not_of('/') + 1);
  struct stat about {};
  const bool there = ::lstat(config.capture.c_str(), &about) == 0;
  if (there && !S_ISDIR(about.st_mode)) return Error{ENOTDIR, "open " + config.capture};
  if (there) {
    if (Result<> existing = probe_existing(config.capture); existing.has_error()) {
      return existing.error();
    }
  }
  std::string own = path + (there ? "/probe-XXXXXX" : ".probe-XXXXXX");
  if (::mkdtemp(own.data()) == nullptr) return errno_error("mkdir " + own);
  Result<std::string> found = probe_directory(own, config, workers);
  std::error_code ignored;
  std::filesystem::remove_all(own, ignored);
  const bool in_use = Directory::is_locked(config.capture);
  const bool deletes = config.retain_size_bytes != 0 || config.retain_age != Duration::zero();
  if (found.has_error() && is_shortage(found.error()) && (in_use || deletes)) {
    found = "no room at the moment: " + found.error().to_string();
  }
  if (found.has_value() && in_use) *found += ", in use at the moment";
  if (found.has_value() && there && (about.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    *found += ", other users can write to it";
  }
  return found;
}

}  // namespace sluice
