#include "iolib/mirror/backlog.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace sluice::mirror {

std::span<std::byte> Backlog::space(std::size_t wanted) {
  if (last_ == nullptr || last_->end == last_->size) {
    const std::size_t size = std::clamp(std::bit_ceil(wanted), kLeastBuffer, kMostBuffer);
    if (budget_.limit_bytes - std::min(budget_.limit_bytes, budget_.used_bytes) < size) return {};
    budget_.used_bytes += size;
    auto buffer = std::make_unique<Buffer>();
    buffer->bytes = std::make_unique_for_overwrite<std::byte[]>(size);
    buffer->size = static_cast<std::uint32_t>(size);
    Buffer* const added = buffer.get();
    (last_ == nullptr ? first_ : last_->next) = std::move(buffer);
    last_ = added;
  }
  return {last_->bytes.get() + last_->end, std::min<std::size_t>(wanted, last_->size - last_->end)};
}

void Backlog::commit(std::size_t bytes) {
  last_->end += static_cast<std::uint32_t>(bytes);
  bytes_ += bytes;
}

bool Backlog::append(std::span<const std::byte> data) {
  while (!data.empty()) {
    const std::span<std::byte> to = space(data.size());
    if (to.empty()) return false;
    std::memcpy(to.data(), data.data(), to.size());
    commit(to.size());
    data = data.subspan(to.size());
  }
  return true;
}

std::span<const std::byte> Backlog::front() const {
  if (!first_) return {};
  return {first_->bytes.get() + first_->begin, first_->end - first_->begin};
}

void Backlog::pop(std::size_t bytes) {
  bytes_ -= bytes;
  first_->begin += static_cast<std::uint32_t>(bytes);
  if (first_->begin == first_->end) drop_first();
}

void Backlog::clear() {
  while (first_) drop_first();
  bytes_ = 0;
}

void Backlog::drop_first() {
  budget_.used_bytes -= first_->size;
  first_ = std::move(first_->next);
  if (!first_) last_ = nullptr;
}

}  // namespace sluice::mirror
