#include "iolib/base/byte_queue.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace sluice {

bool ByteQueue::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::span<std::byte> room = space(bytes.size());
    if (room.empty()) return false;
    std::memcpy(room.data(), bytes.data(), room.size());
    commit(room.size());
    bytes = bytes.subspan(room.size());
  }
  return true;
}

std::span<std::byte> ByteQueue::space(std::size_t most) {
  if (empty()) clear();
  if ((last_ == nullptr || last_->end == last_->capacity) && !add_piece(most)) return {};
  return {last_->bytes.get() + last_->end,
          std::min<std::size_t>(most, last_->capacity - last_->end)};
}

bool ByteQueue::add_piece(std::size_t most) {
  const std::size_t capacity = std::min(std::max(most, size_), kMostInAPiece);
  if (budget_ != nullptr) {
    if (budget_->used_bytes + capacity > budget_->limit_bytes) return false;
    budget_->used_bytes += capacity;
  }
  auto piece = std::make_unique<Piece>();
  piece->bytes = std::make_unique_for_overwrite<std::byte[]>(capacity);
  piece->capacity = static_cast<std::uint32_t>(capacity);
  Piece* const added = piece.get();
  (last_ != nullptr ? last_->next : first_) = std::move(piece);
  last_ = added;
  return true;
}

void ByteQueue::commit(std::size_t bytes) {
  assert(bytes <= last_->capacity - last_->end);
  last_->end += static_cast<std::uint32_t>(bytes);
  size_ += bytes;
}

std::span<const std::byte> ByteQueue::front() const {
  if (empty()) return {};
  return {first_->bytes.get() + first_->begin, first_->end - first_->begin};
}

void ByteQueue::pop(std::size_t bytes) {
  if (bytes == 0) return;
  assert(bytes <= front().size());
  first_->begin += static_cast<std::uint32_t>(bytes);
  size_ -= bytes;
  if (first_->begin < first_->end) return;
  if (empty()) return clear();
  drop_first();
}

// A loop, because the destructors of a long list would recurse.
void ByteQueue::clear() {
  while (first_) drop_first();
  last_ = nullptr;
  size_ = 0;
}

void ByteQueue::drop_first() {
  if (budget_ != nullptr) budget_->used_bytes -= first_->capacity;
  first_ = std::move(first_->next);
}

}  // namespace sluice
