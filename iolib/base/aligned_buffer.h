#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "iolib/base/error.h"

namespace sluice {

/// Owns zeroed, page-aligned memory, as O_DIRECT needs. Uses huge pages where the kernel has them.
/// Move-only.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  /// `size_bytes` > 0. Fails with ENOMEM.
  [[nodiscard]] static Result<AlignedBuffer> allocate(std::size_t size_bytes);
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_bytes_(std::exchange(other.size_bytes_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_bytes_, other.size_bytes_);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer();

  [[nodiscard]] std::span<std::byte> bytes() const { return {data_, size_bytes_}; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace sluice
