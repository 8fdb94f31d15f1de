#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice {

class Operation;

/// Requests on files. Only io_uring completes these on an event loop: see Disk. Belongs to the
/// loop's thread. The rules of Reactor apply.
class FileRing {
 public:
  FileRing(const FileRing&) = delete;
  FileRing& operator=(const FileRing&) = delete;

  /// Writes `bytes` at `offset`. The result is the number of bytes, or -errno. With `durable`, the
  /// bytes are on stable storage at completion (RWF_DSYNC).
  virtual void write_file(int file, std::span<const std::byte> bytes, std::uint64_t offset,
                          bool durable, Operation& operation) = 0;
  /// fdatasync(2). The result is 0 or -errno.
  virtual void sync_file(int file, Operation& operation) = 0;
  /// Registers `buffer` with the kernel, which then keeps its pages mapped for writes until
  /// unregister_buffer(). Has no effect if another one is registered, or if the kernel refuses, for
  /// example beyond RLIMIT_MEMLOCK.
  virtual void register_buffer(std::span<std::byte> buffer) = 0;
  /// Call it before the memory of `buffer` is freed, with nothing of it in flight: other memory at
  /// its address would otherwise be written from the old pages. No effect if it is not registered.
  virtual void unregister_buffer(std::span<std::byte> buffer) = 0;

 protected:
  FileRing() = default;
  ~FileRing() = default;
};

}  // namespace sluice
