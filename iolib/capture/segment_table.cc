#include "iolib/capture/segment_table.h"

#include <utility>

namespace sluice::capture {
namespace {

constexpr std::size_t kTableBlockBytes = 256 << 10;

}  // namespace

void SegmentTable::write(bool begins_segment, const List& list, const Submit& submit) {
  first_ = nullptr;
  std::unique_ptr<OwnedBlock> part;
  bool out_of_memory = false;
  const auto finish = [&] {
    if (!part) return;
    Block& block = part->block;
    block.begins_segment = std::exchange(begins_segment, false);
    blocks_.push_back(std::move(part));
    if (first_ == nullptr) first_ = &block;
    submit(block);
  };
  list([&](const RecordHeader& header, std::span<const std::byte> payload) {
    if (out_of_memory) return;
    if (part && !part->block.builder.fits(payload.size())) finish();
    if (!part) {
      part = std::make_unique<OwnedBlock>();
      out_of_memory = part->allocate(kTableBlockBytes).has_error();
      if (out_of_memory) return part.reset();
    }
    part->block.builder.append(header, payload);
  });
  finish();
}

void SegmentTable::release(const Block& block) {
  if (&block == first_) first_ = nullptr;
  std::erase_if(blocks_, [&block](const auto& each) { return &each->block == &block; });
}

}  // namespace sluice::capture
