#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace sluice::mirror {

/// What the backlogs of one mirror may hold together, in bytes of memory.
struct Budget {
  std::size_t limit_bytes = 0;
  std::size_t used_bytes = 0;
};

/// Bytes that wait for a mirror, first in first out, on the heap: a list of buffers, each filled
/// before the next is taken, so that bytes bound memory however small the pieces come. Used by one
/// thread.
class Backlog {
 public:
  /// Buffers are as large as what is to be put into them, within these bounds.
  static constexpr std::size_t kLeastBuffer = 4 << 10;
  static constexpr std::size_t kMostBuffer = 64 << 10;

  /// Takes its memory out of `budget`.
  explicit Backlog(Budget& budget) : budget_(budget) {}
  ~Backlog() { clear(); }
  Backlog(const Backlog&) = delete;
  Backlog& operator=(const Backlog&) = delete;

  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] bool empty() const { return bytes_ == 0; }

  /// Room behind the last byte, for up to `wanted` bytes (not 0); empty if the budget is used up.
  [[nodiscard]] std::span<std::byte> space(std::size_t wanted);
  /// `bytes` were put into it.
  void commit(std::size_t bytes);
  /// Copies `data` in; false if the budget does not take all of it.
  [[nodiscard]] bool append(std::span<const std::byte> data);

  /// The first bytes that lie together.
  [[nodiscard]] std::span<const std::byte> front() const;
  /// `bytes` of front() are done with.
  void pop(std::size_t bytes);
  /// Gives everything back.
  void clear();

 private:
  struct Buffer {
    std::unique_ptr<std::byte[]> bytes;
    std::uint32_t size = 0;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::unique_ptr<Buffer> next;
  };
  void drop_first();

  Budget& budget_;
  std::unique_ptr<Buffer> first_;
  Buffer* last_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace sluice::mirror
