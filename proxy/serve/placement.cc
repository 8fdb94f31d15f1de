#include "proxy/serve/placement.h"

namespace sluice {

std::size_t Placement::place(std::size_t own) {
  std::size_t best = own;
  for (std::size_t each = 0; each < loads_.size(); ++each) {
    if (loads_[each].staying < loads_[best].staying) best = each;
  }
  ++loads_[best].staying;
  return best;
}

int Placement::with_fewer_streams(std::size_t own) const {
  const auto streams = [this](std::size_t worker) {
    return loads_[worker].relays.streams.load(std::memory_order_relaxed);
  };
  std::uint32_t fewest = streams(own);
  int best = -1;
  for (std::size_t each = 0; each < loads_.size(); ++each) {
    if (streams(each) + 1 >= fewest) continue;
    fewest = streams(each) + 1;
    best = static_cast<int>(each);
  }
  return best;
}

}  // namespace sluice
