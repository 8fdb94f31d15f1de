#include "iolib/base/aligned_buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <string>

namespace sluice {

Result<AlignedBuffer> AlignedBuffer::allocate(std::size_t size_bytes) {
  void* mapped =
      ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const int error = errno;
  if (mapped == MAP_FAILED) return Error{error, "mmap of " + std::to_string(size_bytes) + " bytes"};
  // Huge pages mean fewer pages to pin for each write. A refusal is harmless.
  static_cast<void>(::madvise(mapped, size_bytes, MADV_HUGEPAGE));
  AlignedBuffer buffer;
  buffer.data_ = static_cast<std::byte*>(mapped);
  buffer.size_bytes_ = size_bytes;
  return buffer;
}

AlignedBuffer::~AlignedBuffer() {
  if (data_ != nullptr) ::munmap(data_, size_bytes_);
}

}  // namespace sluice
