#pragma once

#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/base/clock.h"
#include "iolib/capture/frame_builder.h"
#include "iolib/reactor/operation.h"

namespace sluice::capture {

class FrameWriter;

/// One frame. Its owner fills it, then a FrameWriter writes it and keeps it until it is confirmed,
/// or at Durability::none until it is written. A block is in one list at a time.
class Block final : public boost::intrusive::list_base_hook<>, private Operation {
 public:
  /// Sets the memory of the frame; borrowed, as by FrameBuilder.
  void set_buffer(std::span<std::byte> buffer) { builder = FrameBuilder(buffer); }
  /// Makes the block empty.
  void reset() {
    builder.reset();
    data_bytes = 0;
    begins_segment = false;
  }

  FrameBuilder builder;
  std::uint64_t sequence = 0;    ///< rises by one per block, in the order of writing
  std::uint64_t data_bytes = 0;  ///< payload bytes of its data records
  bool begins_segment = false;   ///< the previous segment ends before this block

 private:
  friend class FrameWriter;
  void complete(const Completion& completion) override;

  FrameWriter* writer_ = nullptr;
  std::span<const std::byte> frame_;  ///< the part that is not written yet
  std::uint64_t position_ = 0;        ///< file offset of frame_
  std::uint32_t number_ = 0;          ///< the frame's number
  TimePoint began_;                   ///< start of a durable write
  std::uint8_t tries_ = 0;
  bool written_ = false;
};

using BlockList = boost::intrusive::list<Block>;

}  // namespace sluice::capture
