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

/// One frame: while its owner fills it, while it is written, and until it need not be kept. It is
/// in one list at a time.
class Block final : public boost::intrusive::list_base_hook<>, private Operation {
 public:
  /// Borrows `buffer`, as FrameBuilder does.
  void set_buffer(std::span<std::byte> buffer) { builder = FrameBuilder(buffer); }
  /// Empty again.
  void reset() {
    builder.reset();
    data_bytes = 0;
    begins_segment = false;
  }

  FrameBuilder builder;
  std::uint64_t sequence = 0;    ///< rises by one from block to block, in the order of writing
  std::uint64_t data_bytes = 0;  ///< payload of data records
  bool begins_segment = false;   ///< the segment before ends here

 private:
  friend class FrameWriter;
  void complete(const Completion& completion) override;

  FrameWriter* writer_ = nullptr;
  std::span<const std::byte> frame_;  ///< what is left to be written
  std::uint64_t position_ = 0;        ///< of frame_ in the file
  std::uint32_t number_ = 0;          ///< of the frame
  TimePoint began_;                   ///< a durable write
  std::uint8_t tries_ = 0;
  bool written_ = false;
};

using BlockList = boost::intrusive::list<Block>;

}  // namespace sluice::capture
