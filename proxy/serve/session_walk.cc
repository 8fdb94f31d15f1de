#include "proxy/serve/session_walk.h"

#include <iterator>
#include <utility>

namespace sluice {

void SessionWalks::begin(Visit visit, std::function<void()> done) {
  reactor_.defer(walks_.emplace_back(*this, std::move(visit), std::move(done)));
}

void SessionWalks::end(const Walk& walk) {
  walks_.remove_if([&walk](const Walk& each) { return &each == &walk; });
}

SessionWalks::Walk::Walk(SessionWalks& owner, Visit visit, std::function<void()> done)
    : owner_(owner),
      visit_(std::move(visit)),
      done_(std::move(done)),
      next_(owner.sessions_.begin()),
      last_(owner.sessions_.empty() ? nullptr : &owner.sessions_.back()) {}

void SessionWalks::Walk::leaves(const Session& session) {
  if (last_ == nullptr) return;
  const bool is_next = &*next_ == &session;
  if (last_ == &session)
    last_ = is_next ? nullptr : &*std::prev(owner_.sessions_.iterator_to(*last_));
  if (is_next) ++next_;
}

void SessionWalks::Walk::deferred() {
  bool goes_on = true;
  for (std::size_t left = kVisitsPerTurn; goes_on && left > 0; --left) {
    if (last_ == nullptr) {
      goes_on = false;
    } else {
      Session& session = *next_++;
      if (&session == last_) last_ = nullptr;
      goes_on = visit_(session);
    }
  }
  if (goes_on) return owner_.reactor_.defer(*this);
  const std::function<void()> done = done_;
  owner_.end(*this);
  done();
}

}  // namespace sluice
