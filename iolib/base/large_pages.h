#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>

namespace sluice {

/// An allocator for arrays that are read at random: those of 2 MiB and more get large pages if the
/// system has them. Then few of their addresses have to be looked up in page tables.
template <class T>
struct LargePages {
  using value_type = T;
  static constexpr std::size_t kPageBytes = std::size_t{2} << 20;

  LargePages() = default;
  template <class Other>
  explicit LargePages(const LargePages<Other>& /*other*/) {}

  [[nodiscard]] T* allocate(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    void* const memory = ::operator new(bytes, alignment(count));
    if (bytes >= kPageBytes) static_cast<void>(::madvise(memory, bytes, MADV_HUGEPAGE));
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) { ::operator delete(memory, alignment(count)); }
  friend bool operator==(const LargePages&, const LargePages&) = default;

 private:
  static std::align_val_t alignment(std::size_t count) {
    return std::align_val_t{count * sizeof(T) < kPageBytes ? alignof(T) : kPageBytes};
  }
};

}  // namespace sluice
