#include "iolib/capture/block_pool.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace sluice::capture {

Result<> BlockPool::allocate(std::uint64_t all_bytes, std::size_t grid_bytes, Disk& disk) {
  const auto share =
      static_cast<std::size_t>(std::min<std::uint64_t>(all_bytes / kLeastBlocks, kLargestBlock));
  // Two grid blocks hold any record except data, and the least room for data.
  block_bytes_ = std::max(share / grid_bytes * grid_bytes, 2 * grid_bytes);
  const std::size_t count = std::max<std::size_t>(all_bytes / block_bytes_, kLeastBlocks);
  Result<AlignedBuffer> memory = AlignedBuffer::allocate(count * block_bytes_);
  if (memory.has_error()) return memory.error();
  memory_ = std::move(*memory);
  disk.prepare_buffer(memory_.bytes());
  blocks_ = std::vector<Block>(count);
  for (std::size_t i = 0; i < count; ++i) {
    blocks_[i].set_buffer(memory_.bytes().subspan(i * block_bytes_, block_bytes_));
    free_.push_front(blocks_[i]);
  }
  return {};
}

Block* BlockPool::take() {
  if (free_.empty()) return nullptr;
  Block& block = free_.front();
  free_.pop_front();
  block.reset();
  return &block;
}

bool BlockPool::put_back(Block& block) {
  const std::less_equal<> before;
  if (!before(blocks_.data(), &block) || !before(&block, &blocks_.back())) return false;
  free_.push_front(block);
  return true;
}

}  // namespace sluice::capture
