#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice {

class Operation;

/// Requests on files, which only io_uring completes on a loop: see Disk. Belongs to the loop's
/// thread. The rules are those of Reactor.
class FileRing {
 public:
  FileRing(const FileRing&) = delete;
  FileRing& operator=(const FileRing&) = delete;

  /// Writes to a file. The result is the number of bytes, or -errno. With `durable` they are on
  /// stable storage at completion (RWF_DSYNC).
  virtual void write_file(int file, std::span<const std::byte> bytes, std::uint64_t offset,
                          bool durable, Operation& operation) = 0;
  /// fdatasync(2). The result is 0 or -errno.
  virtual void sync_file(int file, Operation& operation) = 0;
  /// The kernel keeps the pages of `buffer` mapped for writes from it, as long as this ring lives.
  /// Called once; without effect beyond RLIMIT_MEMLOCK.
  virtual void register_buffer(std::span<std::byte> buffer) = 0;

 protected:
  FileRing() = default;
  ~FileRing() = default;
};

}  // namespace sluice
