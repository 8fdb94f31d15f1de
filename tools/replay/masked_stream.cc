#include "tools/replay/masked_stream.h"

#include <algorithm>

namespace sluice::replay {

void MaskedStream::take(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t room = next_ + 2 * kWindowBytes - pending_.size();
    pending_ += bytes.substr(0, room);
    bytes.remove_prefix(std::min(room, bytes.size()));
    // A match that begins before the last window is here as a whole.
    if (pending_.size() == next_ + 2 * kWindowBytes) mask(pending_.size() - kWindowBytes);
  }
}

void MaskedStream::finish() { mask(pending_.size()); }

// Masks the matches that begin before this index, and moves on to it or behind the last match.
void MaskedStream::mask(std::size_t certain_bytes) {
  PatternSearch search(patterns_, pending_, next_);
  while (next_ < certain_bytes) {
    const auto match = search.next();
    const std::size_t plain = match ? std::min(match->begin, certain_bytes) : certain_bytes;
    ready_.append(pending_, next_, plain - next_);
    next_ = plain;
    if (!match || match->begin >= certain_bytes) break;
    masks_.push_back({produced(), match->end - match->begin});
    ready_ += kMask;
    next_ = match->end;
  }
  if (next_ > 1) {
    pending_.erase(0, next_ - 1);
    next_ = 1;
  }
}

void MaskedStream::consume(std::size_t bytes) {
  ready_.erase(0, bytes);
  offset_ += bytes;
  for (; !masks_.empty() && masks_.front().offset < offset_; masks_.pop_front()) {
    hidden_bytes_ += masks_.front().bytes - 1;
  }
}

}  // namespace sluice::replay
