#include "iolib/relay/tap_set.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "iolib/pipe/splice.h"

namespace sluice {

void TapSet::detach(Tap& tap) {
  if (serving_ || owes()) {
    std::replace(taps_.begin(), taps_.end(), &tap, static_cast<Tap*>(nullptr));
  } else {
    std::erase(taps_, &tap);
  }
}

// Calls `call` for every tap. A tap that is detached meanwhile is skipped; one that is attached
// meanwhile is served from the next bytes on.
template <class Call>
void TapSet::each(Call call) {
  const Serving serving(*this);
  call_first(serving.count, call);
}

template <class Call>
void TapSet::call_first(std::size_t count, Call call) {
  for (std::size_t i = 0; i < count; ++i) {
    if (taps_[i] != nullptr) call(*taps_[i]);
  }
}

std::size_t TapSet::size() const {
  return taps_.size() - static_cast<std::size_t>(std::ranges::count(taps_, nullptr));
}

bool TapSet::empty() const {
  return std::all_of(taps_.begin(), taps_.end(), [](const Tap* tap) { return tap == nullptr; });
}

std::size_t TapSet::allowance() {
  std::size_t least = std::numeric_limits<std::size_t>::max();
  each([&](Tap& tap) {
    const std::size_t bytes = tap.allowance();
    // A tap that detached itself during the call limits nothing.
    if (std::find(taps_.begin(), taps_.end(), &tap) != taps_.end()) least = std::min(least, bytes);
  });
  return least;
}

bool TapSet::allowance_stands() {
  bool stands = true;
  each([&](Tap& tap) { stands = tap.allowance_stands() && stands; });
  return stands;
}

std::uint64_t TapSet::watermark() const {
  std::uint64_t lowest = Tap::kNoLimit;
  for (const Tap* tap : taps_) {
    if (tap != nullptr) lowest = std::min(lowest, tap->watermark());
  }
  return lowest;
}

bool TapSet::exact() const {
  return std::any_of(taps_.begin(), taps_.end(),
                     [](const Tap* tap) { return tap != nullptr && tap->exact(); });
}

void TapSet::append(std::uint64_t offset, std::span<const std::byte> bytes) {
  assert(!owes());
  const Serving serving(*this);
  bool owes = false;
  call_first(serving.count, [&](Tap& tap) {
    if (tap.after_forwarding()) {
      owes = true;
    } else {
      tap.append(offset, bytes);
    }
  });
  if (owes) owed_ = serving.count;
}

void TapSet::append_after(std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::size_t count = std::exchange(owed_, 0);
  const Serving serving(*this);
  call_first(count, [&](Tap& tap) {
    if (tap.after_forwarding()) tap.append(offset, bytes);
  });
}

std::size_t TapSet::tee(std::uint64_t offset, const Pipe& source, Pipe& tap_pipe,
                        std::size_t max_bytes) {
  std::size_t first = 0;
  each([&](Tap& tap) {
    const Transfer teed = tee_into(source, tap_pipe, first > 0 ? first : max_bytes);
    if (first == 0) first = teed.bytes;
    if (first == 0) return;
    if (teed.bytes > 0) tap.append(offset, tap_pipe);
    if (teed.bytes < first) tap.overrun(offset + teed.bytes, first - teed.bytes);
  });
  return first;
}

bool TapSet::may_end(std::uint64_t offset) {
  bool may = true;
  each([&](Tap& tap) { may = tap.may_end(offset) && may; });
  return may;
}

void TapSet::eof(std::uint64_t offset) {
  each([&](Tap& tap) { tap.eof(offset); });
}
void TapSet::reset(std::uint64_t offset) {
  each([&](Tap& tap) { tap.reset(offset); });
}
void TapSet::closed(const StreamTotals& totals) {
  each([&](Tap& tap) { tap.closed(totals); });
}

}  // namespace sluice
