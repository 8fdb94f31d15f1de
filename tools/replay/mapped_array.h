#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice::replay {

/// A mapped file without a name. The kernel can write its pages to the disk and thereby reclaim
/// their memory. The file is in $TMPDIR, or else in /var/tmp, because /tmp may itself be memory.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  MappedFile(MappedFile&& other) noexcept
      : fd_(std::move(other.fd_)),
        data_(std::exchange(other.data_, nullptr)),
        size_bytes_(std::exchange(other.size_bytes_, 0)) {}
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  /// Grows the file to at least `size_bytes`; new bytes are zero. The disk space is allocated here,
  /// so no later write to the memory fails. May move data().
  [[nodiscard]] Result<> grow(std::size_t size_bytes);
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size_bytes() const { return size_bytes_; }

 private:
  OwnedFd fd_;
  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

/// An array of any length, in memory that the kernel can reclaim. push_back() may move the
/// elements.
template <class T>
class MappedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  [[nodiscard]] Result<> push_back(const T& value) {
    const std::size_t needed = (size_ + 1) * sizeof(T);
    if (needed > file_.size_bytes()) {
      if (const Result<> grown = file_.grow(needed); !grown) return grown;
    }
    begin()[size_++] = value;
    return {};
  }
  [[nodiscard]] T* begin() const { return reinterpret_cast<T*>(file_.data()); }
  [[nodiscard]] T* end() const { return begin() + size_; }
  [[nodiscard]] T& operator[](std::uint64_t index) const { return begin()[index]; }
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  MappedFile file_;
  std::uint64_t size_ = 0;
};

}  // namespace sluice::replay
