#include "proxy/upstream/hedge.h"

#include <cassert>
#include <cerrno>
#include <utility>

namespace sluice {

void HedgedConnector::cancel() {
  if (state_ == State::racing) {
    return decide(first_.contender.server ? first_ : *hedge_, Error{ECANCELED, "connect"});
  }
  if (state_ != State::decided || connected_.has_error()) return;
  // The winner waits for the other one's end.
  reset_on_close(connected_->fd.get());
  reactor_.forget(connected_->fd.get());
  connected_ = Error{ECANCELED, "connect"};
}

bool HedgedConnector::await_ready() {
  assert(state_ == State::idle);
  state_ = State::racing;
  start(first_);
  if (state_ == State::over) return true;
  if (hedge_after_ > Duration::zero()) reactor_.set_timer(*this, reactor_.now() + hedge_after_);
  return false;
}

HedgedConnector::Outcome HedgedConnector::await_resume() {
  assert(state_ == State::over);
  Contender& contender = decided_by_->contender;
  return {std::move(contender.server), contender.on_trial, std::move(connected_)};
}

void HedgedConnector::expired() {
  assert(state_ == State::racing && !hedge_);
  std::optional<Contender> contender = hedge(first_.contender.server.get());
  if (!contender) return;
  hedge_.emplace(*this, std::move(*contender));
  start(*hedge_);
}

void HedgedConnector::start(Side& side) {
  ++in_flight_;
  side.start();
}

void HedgedConnector::ended(Side& side, Result<Connected> connected) {
  assert(in_flight_ > 0);
  --in_flight_;
  if (state_ == State::racing && (connected.has_value() || in_flight_ == 0)) {
    decide(side, std::move(connected));
  } else if (&side != decided_by_) {
    assert(connected.has_error());
    lost(std::move(side.contender), connected.error());
  }
  if (in_flight_ > 0) return;
  state_ = State::over;
  if (waiter_) waiter_.resume();
}

// If the race is decided by a connect that has ended, cancelling that one has no effect.
void HedgedConnector::decide(Side& by, Result<Connected> connected) {
  state_ = State::decided;
  decided_by_ = &by;
  connected_ = std::move(connected);
  reactor_.cancel_timer(*this);
  first_.cancel();
  if (hedge_) hedge_->cancel();
}

}  // namespace sluice
