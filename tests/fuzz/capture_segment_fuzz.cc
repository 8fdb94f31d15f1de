// Any bytes as one segment. The first says in which state.

#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/fuzz/walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  sluice::fuzz::walk(bytes, static_cast<sluice::capture::SegmentState>(data[0] % 3));
  return 0;
}
