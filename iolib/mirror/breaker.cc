#include "iolib/mirror/breaker.h"

#include <algorithm>

namespace sluice::mirror {

bool Breaker::admit(TimePoint now) {
  if (state() == State::closed) return true;
  if (state() == State::half_open || now < until_) return false;
  enter(State::half_open);
  return true;
}

void Breaker::succeeded() {
  enter(State::closed);
  span_ = kFirstSpan;
}

void Breaker::failed(TimePoint now, bool probe) {
  if (state() != State::closed && !(probe && state() == State::half_open)) return;
  enter(State::open);
  until_ = now + kLeastOpen + jitter(span_);
  span_ = std::min(2 * span_, kLongestSpan);
}

Duration Breaker::jitter(Duration span) {
  return Duration(std::uniform_int_distribution<Duration::rep>(0, span.count())(random_));
}

}  // namespace sluice::mirror
