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
  /// The size of a block, in bytes. Blocks are smaller if otherwise there were fewer than
  /// kLeastBlocks.
  static constexpr std::size_t kLargestBlock = kMaxFrameBytes;
  static constexpr std::size_t kLeastBlocks = 8;

  /// Allocates blocks of `all_bytes` together, each a multiple of `grid_bytes`, and prepares their
  /// memory for `disk`. Fails with ENOMEM. At least kLeastBlocks blocks of two grid blocks are
  /// made, even if that is more than `all_bytes`.
  [[nodiscard]] Result<> allocate(std::uint64_t all_bytes, std::size_t grid_bytes, Disk& disk);
  /// Ends the use of the blocks' memory by `disk`. Call it before the pool is destroyed, unless the
  /// disk goes first.
  void release(Disk& disk) { disk.release_buffer(memory_.bytes()); }

  /// Takes a free block and empties it; null if there is none.
  [[nodiscard]] Block* take();
  /// Puts `block` back. Returns false if it does not belong to this pool.
  bool put_back(Block& block);

  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }
  [[nodiscard]] std::size_t all_bytes() const { return blocks_.size() * block_bytes_; }
  [[nodiscard]] std::size_t free_blocks() const { return free_.size(); }
  [[nodiscard]] std::size_t used_blocks() const { return blocks_.size() - free_.size(); }

 private:
  std::size_t block_bytes_ = 0;
  AlignedBuffer memory_;
  std::vector<Block> blocks_;
  BlockList free_;  ///< the block that came back last is taken first
};

}  // namespace sluice::capture
