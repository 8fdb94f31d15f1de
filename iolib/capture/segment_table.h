#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "iolib/base/aligned_buffer.h"
#include "iolib/capture/block.h"
#include "iolib/capture/format.h"

namespace sluice::capture {

/// The table at the start of a segment: it lists every open connection, so that the previous
/// segments can be deleted. Its memory is not part of the block budget, so a rotation needs no free
/// block. Belongs to one thread.
class SegmentTable {
 public:
  using Add = std::function<void(const RecordHeader&, std::span<const std::byte> payload)>;
  using List = std::function<void(const Add&)>;
  using Submit = std::function<void(Block&)>;

  /// Submits a table with the records that `list` adds, as far as there is memory.
  /// `begins_segment`: a segment begins with the table. Submits nothing if `list` adds nothing.
  void write(bool begins_segment, const List& list, const Submit& submit);
  /// Frees `block`, which is no longer needed. Has no effect on a block that is not part of a
  /// table.
  void release(const Block& block);

  /// Whether every block of every table is released.
  [[nodiscard]] bool empty() const { return parts_.empty(); }
  /// Whether no block of the last table has been released yet.
  [[nodiscard]] bool is_pending() const { return first_ != nullptr; }

 private:
  struct Part {
    AlignedBuffer memory;
    Block block;
  };
  std::vector<std::unique_ptr<Part>> parts_;
  const Block* first_ = nullptr;  ///< first block of the last table, until it is released
};

}  // namespace sluice::capture
