#include "iolib/relay/relay.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "iolib/base/endpoint.h"

namespace sluice {

Relay::Relay(RelayContext& context, const RelayOptions& options, OwnedFd client,
             Leg::Kind client_kind, OwnedFd upstream, Leg::Kind upstream_kind)
    : context_(&context),
      options_(options),
      client_(*this, context.reactor, std::move(client), client_kind),
      upstream_(*this, context.reactor, std::move(upstream), upstream_kind),
      to_upstream_(*this, client_, upstream_.fd() < 0 ? client_ : upstream_),
      to_client_(*this, upstream_, client_),
      two_way_(upstream_.fd() >= 0 && upstream_kind != Leg::Kind::device) {}

Relay::~Relay() = default;

void Relay::begin(std::span<const std::byte> held) {
  const TimePoint now = context_->reactor.now();
  if (moved_) {
    arm(now + kWatchAfter);
    count_streams();
  } else if (options_.idle_timeout > Duration::zero()) {
    arm(now + options_.idle_timeout);
  }
  if (two_way_ && !to_client_.ended()) to_client_.start();
  if (!to_upstream_.ended()) to_upstream_.start(held);
}

// --- Moving to another thread ---

void Relay::count_streams() {
  if (!moving()) count_in(to_upstream_.heavy() || to_client_.heavy() ? context_ : nullptr);
}

void Relay::count_in(RelayContext* context) {
  RelayContext* const before = std::exchange(counted_in_, context);
  if (before == context) return;
  if (context != nullptr) context->streams.fetch_add(1, std::memory_order_relaxed);
  if (before != nullptr) before->streams.fetch_sub(1, std::memory_order_relaxed);
}

// Heavy streams are what loads a thread. If another thread has fewer, the relay moves there, at
// most once.
bool Relay::begin_move() {
  if (moved_ || moving() || !two_way_ || !context_->choose_thread || end_ != EndReason::none) {
    return false;
  }
  if (!to_upstream_.may_move() || !to_client_.may_move()) return false;
  const int thread = context_->choose_thread();
  if (thread < 0) return false;
  destination_ = static_cast<std::int16_t>(thread);
  // Counted before the move, so that streams that prove heavy at the same moment do not all choose
  // the same thread.
  count_in(&context_->of_thread(thread));
  client_.unwatch();
  upstream_.unwatch();
  to_upstream_.pause();
  to_client_.pause();
  return true;
}

void Relay::move_to(RelayContext& context) {
  context_ = &context;
  client_.set_reactor(context.reactor);
  upstream_.set_reactor(context.reactor);
  destination_ = -1;
  moved_ = true;
}

// --- Ending ---

bool Relay::pumps_ended() const {
  return to_upstream_.ended() && (!two_way_ || to_client_.ended());
}

bool Relay::joined() const {
  const auto rests = [](const Pump& pump) { return pump.ended() || pump.paused(); };
  return rests(to_upstream_) && (!two_way_ || rests(to_client_)) && !client_.in_flight() &&
         !upstream_.in_flight();
}

// The waiter resumes at the end of the turn, not from here: the caller may be within a method of an
// object that the waiter destroys.
void Relay::check_joined() {
  if (can_finish_run()) context_->reactor.defer(*this);
}

bool Relay::try_finish_run() {
  const bool can = can_finish_run();
  if (can) finish_run();
  return can;
}

// Runs when nothing is in flight. Hands the relay over for a move, or ends both sockets once the
// bytes that need it are acknowledged.
void Relay::finish_run() {
  assert(joined());
  if (pumps_ended()) {
    count_in(nullptr);
    if (client_.was_reset() && two_way_ && !flushed(upstream_)) return;
    if (upstream_.was_reset() && !flushed(client_)) return;
    destination_ = -1;
    close();
  } else {
    context_->reactor.forget(client_.fd());
    context_->reactor.forget(upstream_.fd());
  }
  // Leaves nothing at this reactor: when resume() returns, the relay may be destroyed or on another
  // thread.
  context_->reactor.cancel_timer(*this);
  cancel();
  std::exchange(waiter_, {}).resume();
}

// Whether `leg` may be reset without destroying forwarded bytes: its peer has acknowledged them or
// has reset, or the deadline has passed. If not, checks again soon. Discards what the peer sent,
// which nobody can receive any more.
bool Relay::flushed(Leg& leg) {
  if (leg.was_reset()) return true;
  leg.discard_received();
  unacknowledged_bytes_ = leg.unacknowledged_bytes();
  const TimePoint now = context_->reactor.now();
  if (leg.was_reset() || leg.all_acknowledged() || now >= reset_deadline_) return true;
  arm(std::min(now + send_queues_.pause(), reset_deadline_));
  return false;
}

void Relay::end_as(EndReason end) {
  if (end_ == EndReason::none) end_ = end;
}

void Relay::leg_reset(Leg& leg) {
  end_as(&leg == &client_ ? EndReason::client_reset : EndReason::upstream_reset);
  if (reset_deadline_ == TimePoint::max()) {
    reset_deadline_ = context_->reactor.now() + kResetFlushTimeout;
    arm(reset_deadline_);
  }
  if (&to_upstream_.target() == &leg) to_upstream_.cut();
  if (two_way_ && &to_client_.target() == &leg) to_client_.cut();
}

// close() sends the FIN of the direction that ends last.
void Relay::pass_on_end(Leg& target) {
  if (!pumps_ended() || end_ != EndReason::none) target.send_fin();
}

void Relay::pump_ended() {
  if (!pumps_ended()) {
    first_end_ = context_->reactor.now();
    if (options_.half_close_timeout > Duration::zero()) {
      arm(first_end_ + options_.half_close_timeout);
    }
    if (moving()) return check_joined();
    return arm(first_end_ + kWatchAfter);
  }
  end_as(EndReason::closed);
  client_.unwatch();
  upstream_.unwatch();
  check_joined();
}

void Relay::pump_paused(const Pump& pump) {
  Leg& quiet = &pump.source() == &client_ ? client_ : upstream_;
  const TimePoint now = context_->reactor.now();
  if (!quiet.watched()) arm(now + kWatchAfter);
  if (pump.holds_pipe()) arm(now + Pump::kPipePause);
}

// Only an error watch reports errors of a socket from which nothing is read.
void Relay::watch_quiet_legs() {
  if (to_upstream_.quiet()) client_.watch();
  if (two_way_ && to_client_.quiet()) upstream_.watch();
}

void Relay::arm(TimePoint deadline) {
  if (!is_set() || deadline < this->deadline()) context_->reactor.set_timer(*this, deadline);
}

void Relay::expired() {
  if (try_finish_run()) return;
  // While requests are in flight, their completion checks again.
  if (pumps_ended() || moving()) return;
  watch_quiet_legs();
  const TimePoint next = check_timeouts(context_->reactor.now());
  if (next != TimePoint::max()) arm(next);
}

// Stops the relay if it has been silent for too long. Returns when to check again.
TimePoint Relay::check_timeouts(TimePoint now) {
  if (now >= reset_deadline_) {
    stop(end_);  // passes on the reset
    return TimePoint::max();
  }
  TimePoint next = reset_deadline_;
  TimePoint active = to_upstream_.last_activity();
  if (two_way_) active = std::max(active, to_client_.last_activity());
  // A direction that a tap delays is not idle.
  if (to_upstream_.gated() || to_client_.gated()) active = now;
  EndReason why = EndReason::idle_timeout;
  Duration limit = options_.idle_timeout;
  if (first_end_ != TimePoint::max()) {
    // Only the remaining direction counts now.
    const Pump& left = to_upstream_.ended() ? to_client_ : to_upstream_;
    active = left.gated() ? now : std::max(first_end_, left.last_activity());
    why = EndReason::half_close_timeout;
    limit = options_.half_close_timeout;
  }
  if (limit > Duration::zero()) {
    // A direction that is ready, but that the loop has not handled yet, is not idle either.
    const bool is_late = now - std::max(active, drained_at_) >= limit;
    if (is_late && (to_upstream_.is_ready() || to_client_.is_ready())) active = now;
    if (now - std::max(active, drained_at_) >= limit && !drains(active, now)) {
      stop(why);
      return TimePoint::max();
    }
    next = std::min(next, std::max(active, drained_at_) + limit);
  }
  next = std::min(next, to_upstream_.tidy(now));
  if (two_way_) next = std::min(next, to_client_.tidy(now));
  return next;
}

// Whether a slow reader still takes bytes that were forwarded long ago: a send queue can hold
// megabytes, and a reset would destroy them. The first check since a byte moved counts any queued
// bytes as progress.
bool Relay::drains(TimePoint active, TimePoint now) {
  if (drained_at_ < active) send_queues_.begin_anew();
  if (!send_queues_.drains(client_.unacknowledged_bytes() + upstream_.unacknowledged_bytes())) {
    return false;
  }
  drained_at_ = now;
  return true;
}

void Relay::stop(EndReason why) {
  end_as(why);
  if (pumps_ended()) {
    // Only the wait for the last acknowledgements is left; this ends it.
    reset_deadline_ = context_->reactor.now();
    return check_joined();
  }
  to_upstream_.cut();
  if (two_way_) to_client_.cut();
}

void Relay::close() {
  to_upstream_.close_taps();
  to_client_.close_taps();
  const bool abortive = end_ != EndReason::closed;
  if (!abortive && options_.fin_confirms) reset_on_close(client_.fd(), false);
  client_.close(abortive);
  upstream_.close(abortive);
}

}  // namespace sluice
