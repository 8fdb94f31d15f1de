// A chain of segments with good checksums over arbitrary bytes, as readers see it.

#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/fuzz/resealed.h"
#include "tests/fuzz/walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice::fuzz;
  const auto chain = resealed_chain(std::as_bytes(std::span(data, size)));
  if (!chain.empty()) walk(chain);
  return 0;
}
