#include "iolib/relay/promotion.h"

#include <cassert>

namespace sluice {

bool Promotion::received(bool full, bool left_more) {
  assert(!streaming());
  if (left_more) {
    ++against_;
  } else if (!full && !rest_is_due_) {
    against_ = 0;
  }
  rest_is_due_ = left_more;
  return against_ >= kPromoteAfter;
}

void Promotion::promote(std::uint32_t thread_turns) {
  mode_ = Mode::spliced;
  against_ = 0;
  begin_window(thread_turns);
}

// Copying is cheaper for small turns. After many large turns, it pays to wait for more bytes at a
// time.
Promotion::Finding Promotion::spliced(std::size_t bytes, std::uint32_t thread_turns) {
  assert(streaming());
  ++own_turns_;
  if (bytes <= kSmallTurnBytes) {
    if (against_ < kDemoteAfter) ++against_;
    return against_ == kDemoteAfter ? Finding::small : Finding::nothing;
  }
  against_ = 0;
  if (bytes < kLargeTurnBytes || ++large_turns_ < kHeavyAfter) return Finding::nothing;
  mode_ = crowded(thread_turns) ? Mode::heavy : Mode::patient;
  begin_window(thread_turns);
  proven_ = true;
  return Finding::heavy;
}

void Promotion::demote() {
  mode_ = Mode::copied;
  against_ = 0;
}

void Promotion::lose_patience(std::uint32_t thread_turns) {
  assert(patient());
  mode_ = Mode::heavy;
  begin_window(thread_turns);
}

void Promotion::begin_window(std::uint32_t thread_turns) {
  large_turns_ = 0;
  own_turns_ = 0;
  window_began_ = thread_turns;
}

// Whether more than kFewStreams streams shared this thread in this window, by their number of
// turns.
bool Promotion::crowded(std::uint32_t thread_turns) const {
  const std::uint64_t all = thread_turns - window_began_;
  return 2 * all > std::uint64_t{2 * kFewStreams + 1} * own_turns_;
}

}  // namespace sluice
