#include "iolib/balance/edf.h"

#include <algorithm>
#include <cassert>

namespace sluice::balance {
namespace {

// The time in which each item has as many deadlines as its weight. Rounding 1/weight down gains an
// item of weight w one pick in 2^48 / w of these.
constexpr std::uint64_t kRound = std::uint64_t{1} << 48;
// Before time overflows. A round is at least one pick, so this happens seldom.
constexpr std::uint64_t kLatest = std::uint64_t{1} << 62;

}  // namespace

Edf::Edf(std::span<const std::uint32_t> weights) {
  heap_.reserve(weights.size());
  for (const std::uint32_t weight : weights) {
    assert(weight > 0);
    heap_.push_back({0, static_cast<std::uint32_t>(heap_.size()), weight});
  }
}

Edf::Edf(std::span<const std::uint32_t> weights, Random& random) : Edf(weights) {
  std::uint64_t total = 0;
  for (Item& item : heap_) {
    total += item.weight;
    item.deadline = random.below(kRound / item.weight);
  }
  if (total == 0) return;
  // A random phase for each item begins at a random time, but not at a random pick: of weights 1
  // and 2, the heavy one would come first in 3 of 4 cases. So the first pick is drawn, too.
  std::uint64_t drawn = random.below(total);
  auto first = heap_.begin();
  for (; drawn >= first->weight; ++first) drawn -= first->weight;
  first->deadline = 0;
  make_heap();
}

std::size_t Edf::pick(std::size_t place) {
  Item& item = heap_[place];
  const std::size_t index = item.index;
  now_ = std::max(now_, item.deadline);
  item.deadline = now_ + kRound / item.weight;
  sift_down(place);
  if (now_ >= kLatest) restart_time();
  return index;
}

void Edf::make_heap() {
  std::ranges::make_heap(heap_, [](const Item& a, const Item& b) { return b < a; });
}

void Edf::sift_down(std::size_t place) {
  const Item item = heap_[place];
  while (2 * place + 1 < heap_.size()) {
    std::size_t child = 2 * place + 1;
    if (child + 1 < heap_.size() && heap_[child + 1] < heap_[child]) ++child;
    if (item < heap_[child]) break;
    heap_[place] = heap_[child];
    place = child;
  }
  heap_[place] = item;
}

// Items that have been skipped since before now_ become equally early.
void Edf::restart_time() {
  for (Item& item : heap_) item.deadline -= std::min(item.deadline, now_);
  now_ = 0;
  make_heap();
}

}  // namespace sluice::balance
