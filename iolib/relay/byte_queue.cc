#include "iolib/relay/byte_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sluice {

void ByteQueue::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::span<std::byte> room = space(bytes.size());
    std::memcpy(room.data(), bytes.data(), room.size());
    commit(room.size());
    bytes = bytes.subspan(room.size());
  }
}

std::span<std::byte> ByteQueue::space(std::size_t most) {
  if (empty()) clear();
  if (last_ == nullptr || last_->end == last_->capacity) {
    const std::size_t capacity = std::max(most, std::min(size_, kMostInAPiece));
    auto piece = std::make_unique<Piece>();
    piece->bytes = std::make_unique_for_overwrite<std::byte[]>(capacity);
    piece->capacity = static_cast<std::uint32_t>(capacity);
    Piece* const added = piece.get();
    (last_ != nullptr ? last_->next : first_) = std::move(piece);
    last_ = added;
  }
  return {last_->bytes.get() + last_->end,
          std::min<std::size_t>(most, last_->capacity - last_->end)};
}

void ByteQueue::commit(std::size_t bytes) {
  last_->end += static_cast<std::uint32_t>(bytes);
  size_ += bytes;
}

std::span<const std::byte> ByteQueue::front() const {
  if (empty()) return {};
  return {first_->bytes.get() + first_->begin, first_->end - first_->begin};
}

void ByteQueue::pop(std::size_t bytes) {
  if (bytes == 0) return;
  first_->begin += static_cast<std::uint32_t>(bytes);
  size_ -= bytes;
  if (first_->begin < first_->end) return;
  if (empty()) return clear();
  first_ = std::move(first_->next);
}

// One by one: the destructors would nest.
void ByteQueue::clear() {
  while (first_) first_ = std::move(first_->next);
  last_ = nullptr;
  size_ = 0;
}

}  // namespace sluice
