#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace sluice {

/// Bytes that wait on the heap, first in, first out.
///
/// Grows as bytes come, by at most twice as many as there are, and gives memory back as they go.
/// Its owner sees to a bound.
class ByteQueue {
 public:
  ByteQueue() = default;
  ~ByteQueue() { clear(); }
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  void append(std::span<const std::byte> bytes);
  /// Room behind the last byte, of at least one and at most `most` bytes; all of them if the queue
  /// is empty. What is put there belongs to the queue with commit().
  [[nodiscard]] std::span<std::byte> space(std::size_t most);
  void commit(std::size_t bytes);

  /// The first bytes, as many as lie in one piece; none if the queue is empty.
  [[nodiscard]] std::span<const std::byte> front() const;
  /// Drops so many of front().
  void pop(std::size_t bytes);
  void clear();

 private:
  // Larger pieces would come from the kernel one by one, and go back to it.
  static constexpr std::size_t kMostInAPiece = 64 << 10;
  struct Piece {
    std::unique_ptr<std::byte[]> bytes;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::uint32_t capacity = 0;
    std::unique_ptr<Piece> next;
  };

  std::unique_ptr<Piece> first_;
  Piece* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace sluice
