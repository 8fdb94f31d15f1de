#pragma once

#include <cstddef>

namespace sluice::wire {

/// The result of a parser for a stream that is too short to tell: it takes at least this many bytes
/// from the beginning. Always more than there are.
struct NeedsBytes {
  std::size_t total = 0;
};

}  // namespace sluice::wire
