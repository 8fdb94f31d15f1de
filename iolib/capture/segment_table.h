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

/// What a segment begins with: every connection that is alive, so that the segments before can be
/// deleted. In memory beyond the budget of blocks, so that a rotation needs no free one. Belongs to
/// one thread.
class SegmentTable {
 public:
  using Add = std::function<void(const RecordHeader&, std::span<const std::byte> payload)>;
  using List = std::function<void(const Add&)>;
  using Submit = std::function<void(Block&)>;

  /// Submits one with the records that `list` adds, as far as there is memory; `begins_segment`: a
  /// segment begins with it. If nothing is added, nothing is submitted.
  void write(bool begins_segment, const List& list, const Submit& submit);
  /// `block` need not be kept any longer; without effect on one of somebody else.
  void release(const Block& block);

  /// No block is still to be written.
  [[nodiscard]] bool empty() const { return parts_.empty(); }
  /// All of the last one is still to be written.
  [[nodiscard]] bool is_pending() const { return first_ != nullptr; }

 private:
  struct Part {
    AlignedBuffer memory;
    Block block;
  };
  std::vector<std::unique_ptr<Part>> parts_;
  const Block* first_ = nullptr;  ///< of the last table, until it is released
};

}  // namespace sluice::capture
