#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "iolib/base/aligned_buffer.h"
#include "iolib/base/error.h"
#include "iolib/capture/block.h"
#include "iolib/disk/disk.h"

namespace sluice::capture {

/// A fixed number of blocks of one size. Belongs to one thread.
class BlockPool {
 public:
  /// Blocks are of this size, or smaller, so that there are at least kLeastBlocks of them.
  static constexpr std::size_t kLargestBlock = kMaxFrameBytes;
  static constexpr std::size_t kLeastBlocks = 8;

  /// Fails with ENOMEM.
  [[nodiscard]] Result<> allocate(std::uint64_t all_bytes, std::size_t grid_bytes, Disk& disk);

  /// A free block, empty; null if there is none.
  [[nodiscard]] Block* take();
  /// Puts `block` back, if it is one of these.
  bool put_back(Block& block);

  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }
  [[nodiscard]] std::size_t all_bytes() const { return blocks_.size() * block_bytes_; }
  [[nodiscard]] std::size_t free_blocks() const { return free_.size(); }
  [[nodiscard]] std::size_t used_blocks() const { return blocks_.size() - free_.size(); }

 private:
  std::size_t block_bytes_ = 0;
  AlignedBuffer memory_;
  std::vector<Block> blocks_;
  BlockList free_;  ///< the last one that came back is the first to go
};

}  // namespace sluice::capture
