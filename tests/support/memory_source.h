#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/base/error.h"
#include "iolib/capture/source.h"

namespace sluice::test {

/// A segment's bytes that somebody else holds.
class MemorySource final : public capture::Source {
 public:
  explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}
  [[nodiscard]] Result<std::uint64_t> size_bytes() override {
    return {boost::system::in_place_value, bytes_.size()};
  }
  [[nodiscard]] Result<std::span<const std::byte>> read(std::uint64_t offset,
                                                        std::size_t bytes) override {
    const std::size_t begin = std::min<std::uint64_t>(offset, bytes_.size());
    return bytes_.subspan(begin, std::min(bytes, bytes_.size() - begin));
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace sluice::test
