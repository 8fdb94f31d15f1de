#include "iolib/capture/segment_table.h"

#include <utility>

namespace sluice::capture {
namespace {

constexpr std::size_t kTableBlockBytes = 256 << 10;

}  // namespace

void SegmentTable::write(bool begins_segment, const List& list, const Submit& submit) {
  first_ = nullptr;
  std::unique_ptr<Part> part;
  bool out_of_memory = false;
  const auto finish = [&] {
    if (!part) return;
    Block& block = part->block;
    block.begins_segment = std::exchange(begins_segment, false);
    parts_.push_back(std::move(part));
    if (first_ == nullptr) first_ = &block;
    submit(block);
  };
  list([&](const RecordHeader& header, std::span<const std::byte> payload) {
    if (out_of_memory) return;
    if (part && !part->block.builder.fits(payload.size())) finish();
    if (!part) {
      Result<AlignedBuffer> memory = AlignedBuffer::allocate(kTableBlockBytes);
      out_of_memory = memory.has_error();
      if (out_of_memory) return;
      part = std::make_unique<Part>();
      part->memory = std::move(*memory);
      part->block.set_buffer(part->memory.bytes());
    }
    part->block.builder.append(header, payload);
  });
  finish();
}

void SegmentTable::release(const Block& block) {
  if (&block == first_) first_ = nullptr;
  std::erase_if(parts_, [&block](const auto& each) { return &each->block == &block; });
}

}  // namespace sluice::capture
