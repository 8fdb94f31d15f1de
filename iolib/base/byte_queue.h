#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace sluice {

/// A memory limit that several queues share, in bytes. One thread uses it.
struct ByteBudget {
  std::size_t limit_bytes = 0;
  std::size_t used_bytes = 0;
};

/// A first-in, first-out queue of bytes on the heap. It is a list of pieces. Each piece is filled
/// before the next is allocated, so even many small appends need little more memory than their
/// bytes.
///
/// A new piece is at most as large as the bytes already queued or the bytes to add, whichever is
/// more. A piece is freed once its bytes are popped. One thread uses it.
class ByteQueue {
 public:
  /// The allocator would map and unmap each larger piece separately.
  static constexpr std::size_t kMostInAPiece = 64 << 10;

  /// `budget` is borrowed. Without a budget, the owner limits the queue.
  explicit ByteQueue(ByteBudget* budget = nullptr) : budget_(budget) {}
  ~ByteQueue() { clear(); }
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  /// Copies `bytes` to the end. False if the budget ended first: then only a part of them was
  /// added.
  bool append(std::span<const std::byte> bytes);
  /// Free memory after the last byte: 1 to `most` bytes; `most` is not 0. It is `most` bytes if the
  /// queue is empty and `most` is at most kMostInAPiece. Empty if the budget is used up.
  [[nodiscard]] std::span<std::byte> space(std::size_t most);
  /// Adds the first `bytes` bytes of the last space(), which the caller has written, to the queue.
  void commit(std::size_t bytes);

  /// The bytes of the first piece; empty if the queue is empty.
  [[nodiscard]] std::span<const std::byte> front() const;
  /// Drops the first `bytes` bytes of front().
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
