#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace sluice {

/// What several queues may hold together, in bytes of memory. Used by one thread.
struct ByteBudget {
  std::size_t limit_bytes = 0;
  std::size_t used_bytes = 0;
};

/// Bytes that wait on the heap, first in, first out: a list of pieces, each filled before the next
/// is taken, so that bytes bound memory however small the parts come.
///
/// Grows as bytes come, by at most as much again as there is, and gives memory back as they go.
/// Used by one thread.
class ByteQueue {
 public:
  /// Larger pieces would come from the kernel one by one, and go back to it.
  static constexpr std::size_t kMostInAPiece = 64 << 10;

  /// Without a budget, its owner sees to a bound. `budget` is borrowed.
  explicit ByteQueue(ByteBudget* budget = nullptr) : budget_(budget) {}
  ~ByteQueue() { clear(); }
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  /// Copies `bytes` in; false if the budget did not take all of them.
  bool append(std::span<const std::byte> bytes);
  /// Room behind the last byte, for at most `most` bytes (not 0), and at least one; for all of them
  /// if the queue is empty and they fit a piece; for none if the budget is used up. What is put
  /// there belongs to the queue with commit().
  [[nodiscard]] std::span<std::byte> space(std::size_t most);
  void commit(std::size_t bytes);

  /// The first bytes, as many as lie in one piece; none if the queue is empty.
  [[nodiscard]] std::span<const std::byte> front() const;
  /// Drops so many of front().
  void pop(std::size_t bytes);
  void clear();

 private:
  struct Piece {
    std::unique_ptr<std::byte[]> bytes;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::uint32_t capacity = 0;
    std::unique_ptr<Piece> next;
  };
  [[nodiscard]] bool add_piece(std::size_t most);
  void drop_first();

  ByteBudget* const budget_;
  std::unique_ptr<Piece> first_;
  Piece* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace sluice
