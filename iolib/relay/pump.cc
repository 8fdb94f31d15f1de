#include "iolib/relay/pump.h"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "iolib/pipe/splice.h"
#include "iolib/relay/relay.h"

namespace sluice {

Pump::Pump(Relay& relay, Leg& source, Leg& target)
    : relay_(relay), source_(source), target_(target) {}
Pump::~Pump() = default;

std::size_t Pump::held_bytes() const { return held_.size() + (pipe_ ? pipe_->held_bytes() : 0); }

bool Pump::is_ready() const {
  switch (wait_) {
    case Wait::receive:
    case Wait::readable:
      return source_.has_input();
    case Wait::writable:
      return target_.has_room();
    case Wait::nothing:
    case Wait::allowance:
      break;
  }
  return false;
}

void Pump::start(std::span<const std::byte> held) {
  if (paused()) {
    phase_ = Phase::running;
    promotion_.begin_window(thread_turns());
    return advance();
  }
  last_activity_ = relay_.context_->reactor.now();
  if (relay_.options_.splice == SpliceMode::always) promotion_.promote(thread_turns());
  if (!held.empty()) {
    received_bytes_ += held.size();
    copy_out(held);
  }
  advance();
}

void Pump::cut() {
  if (ended() || is_cut()) return;
  end_ = End::cut;
  leave_wait();
}

void Pump::pause() {
  if (phase_ != Phase::running) return;
  phase_ = Phase::pausing;
  leave_wait();
}

void Pump::leave_wait() {
  if (in_flight()) return relay_.context_->reactor.cancel(*this);
  // If the pump is neither in flight nor waiting for an allowance, it is within a turn, which ends
  // in advance(), or paused until start().
  if (wait_ == Wait::allowance) advance();
}

void Pump::complete(const Completion& completion) {
  const Wait waited = std::exchange(wait_, Wait::nothing);
  if (!is_cut()) {
    switch (waited) {
      case Wait::receive:
        take(completion);
        break;
      case Wait::readable:
        // A paused pump must hold no pipe: another thread would return it to its pool.
        if (phase_ == Phase::pausing || completion.result == -ECANCELED) break;
        // The target has become slow meanwhile.
        if (forwardable_bytes() > 0) break;
        if (streaming()) {
          splice_turn();
        } else {
          receive_turn();
        }
        break;
      default:
        flush();
    }
  }
  advance();
}

// The reactor calls this before any completion of the turn. The time of the send was that of
// copy_out(): a report can come much later, with the next turn.
void Pump::sent(int result, std::span<const std::byte> data) {
  assert(held_bytes() == 0);
  // A turn begins, and what happens in it must not begin another.
  if (wait_ == Wait::allowance) wait_ = Wait::nothing;
  const auto taken = static_cast<std::size_t>(std::max(result, 0));
  count(taken);
  if (result < 0 && !is_refused(result)) target_.mark_reset();
  if (taken < data.size() && !is_cut()) {
    held_.append(data.subspan(taken));
    if (in_flight()) relay_.context_->reactor.cancel(*this);
  }
  show_forwarded(data);
  if (!in_flight() && !ended()) advance();
}

// Begins the next wait, or ends the direction. Every turn ends here.
void Pump::advance() {
  assert(!in_flight() && !ended());
  wait_ = Wait::nothing;
  forget_detached();
  if (sending()) {
    // Until sent() reports how much was sent, only a receive may begin.
    if (!may_read()) return relay_.context_->reactor.hasten();
    if (taps_ && taps_->owes()) relay_.context_->reactor.hasten(kLongestOwed);
    return wait_for_source();
  }
  if (is_cut()) return finish();
  assert(received_bytes_ == forwarded_bytes_ + held_bytes());
  if (phase_ == Phase::pausing) {
    assert(!pipe_);
    phase_ = Phase::paused;
    return relay_.check_joined();
  }
  if (held_bytes() > 0) {
    if (forwardable_bytes() > 0) {
      wait_ = Wait::writable;
      relay_.context_->reactor.wait_writable(target_.fd(), *this);
    } else if (may_gather()) {
      return wait_for_source();
    } else {
      wait_ = Wait::allowance;
    }
    return relay_.pump_paused(*this);
  }
  pipe_.release();
  if (end_ == End::eof && taps_ && !taps_->may_end(received_bytes_)) {
    wait_ = Wait::allowance;
    return relay_.pump_paused(*this);
  }
  if (end_ != End::none) return finish();
  if (promotion_.take_proof() && relay_.begin_move()) return advance();
  wait_for_source();
}

// Whether the pump may read while a send is queued.
bool Pump::may_read() const {
  return phase_ == Phase::running && end_ == End::none && held_.empty();
}

// Whether the pump may read while bytes wait for a tap. Only when it copies: it could not empty a
// pipe while bytes before it wait on the heap.
bool Pump::may_gather() const {
  return end_ == End::none && !streaming() && !pipe_ &&
         held_.size() + Reactor::kReceiveBytes <= kMaxGatedBytes;
}

void Pump::wait_for_source() {
  const std::size_t most = allowance();
  if (most == 0 || (throttle_ && awaits_bandwidth())) {
    wait_ = Wait::allowance;
    return relay_.pump_paused(*this);
  }
  if (streaming()) {
    wait_ = Wait::readable;
    if (promotion_.patient()) relay_.arm(relay_.context_->reactor.now() + Promotion::kPatience);
    relay_.context_->reactor.wait_readable(source_.fd(), *this);
  } else if (throttle_ || (taps_ && !taps_->allowance_stands())) {
    wait_ = Wait::readable;
    relay_.context_->reactor.wait_readable(source_.fd(), *this);
  } else {
    wait_ = Wait::receive;
    relay_.context_->reactor.receive(source_.fd(), *this, std::min(most, Reactor::kReceiveBytes));
  }
}

void Pump::finish() {
  phase_ = Phase::ended;
  if (end_ == End::eof) relay_.pass_on_end(target_);
  if (taps_) {
    if (end_ == End::eof) {
      taps_->eof(received_bytes_);
    } else {
      taps_->reset(received_bytes_);
    }
  }
  held_.clear();
  pipe_.release();
  relay_.pump_ended();
}

void Pump::end_source(bool orderly) {
  if (!orderly) source_.mark_reset();
  // If the source is also the target, mark_reset() has cut the direction.
  if (!is_cut()) end_ = orderly ? End::eof : End::reset;
}

// --- Copying ---

// A receive within the turn, for allowances that do not stand.
void Pump::receive_turn() {
  const std::size_t most = turn_allowance(Reactor::kReceiveBytes);
  if (most == 0) return;
  std::vector<std::byte>& buffer = relay_.context_->receive_buffer;
  buffer.resize(Reactor::kReceiveBytes);
  const ssize_t got = ::recv(source_.fd(), buffer.data(), most, MSG_DONTWAIT);
  if (got < 0) return take({-errno, false, {}});
  take({static_cast<int>(got), false, std::span(buffer).first(static_cast<std::size_t>(got))});
}

void Pump::take(const Completion& completion) {
  if (throttle_) spend(completion.data.size());
  if (completion.result == 0) return end_source(source_.end_is_orderly());
  if (completion.result < 0) {
    const int error = -completion.result;
    if (error != EAGAIN && error != EINTR && error != ECANCELED) end_source(false);
    return;
  }
  received_bytes_ += completion.data.size();
  copy_out(completion.data);
  if (!may_splice()) return;
  const bool full = completion.data.size() == Reactor::kReceiveBytes;
  const bool proven = promotion_.received(full, full && source_.unread_bytes() > 0);
  if (proven || relay_.options_.splice == SpliceMode::always) promotion_.promote(thread_turns());
}

bool Pump::may_splice() const {
  return relay_.options_.splice != SpliceMode::never && (!taps_ || !taps_->exact()) &&
         relay_.context_->reactor.now() >= relay_.context_->no_pipes_until;
}

// Shows received bytes to the taps, sends those that may and can go, and holds the rest.
void Pump::copy_out(std::span<const std::byte> data) {
  last_activity_ = relay_.context_->reactor.now();
  if (taps_) taps_->append(received_bytes_ - data.size(), data);
  send_or_hold(data);
  if (!sending()) show_forwarded(data);
}

// Shows the bytes to the taps that see them only after forwarding.
void Pump::show_forwarded(std::span<const std::byte> data) {
  if (taps_ && taps_->owes()) taps_->append_after(received_bytes_ - data.size(), data);
}

void Pump::send_or_hold(std::span<const std::byte> data) {
  std::size_t sent = 0;
  if (held_.empty()) {
    const std::size_t may_go = below_watermark(data.size());
    if (may_go == data.size() && send_with_turn(data)) return;
    if (may_go > 0) sent = send_now(data.first(may_go));
  }
  if (sent < data.size() && !is_cut()) held_.append(data.subspan(sent));
}

bool Pump::send_with_turn(std::span<const std::byte> data) {
  return target_.kind() != Leg::Kind::device &&
         relay_.context_->reactor.send(target_.fd(), data, *this);
}

std::size_t Pump::send_now(std::span<const std::byte> data) {
  if (target_.kind() == Leg::Kind::device) {
    moved_out(data.size());
    return data.size();
  }
  const Transfer sent = send_bytes(target_.fd(), data);
  if (sent.status == Transfer::Status::moved) moved_out(sent.bytes);
  if (sent.status == Transfer::Status::failed) target_.mark_reset();
  return sent.bytes;
}

void Pump::flush() {
  flush_held();
  if (held_.empty() && pipe_) flush_pipe();
}

void Pump::flush_held() {
  while (!held_.empty()) {
    const std::span<const std::byte> front = held_.front();
    const std::size_t may_go = below_watermark(front.size());
    const std::size_t sent = may_go > 0 ? send_now(front.first(may_go)) : 0;
    held_.pop(sent);
    if (sent < front.size()) return;
  }
}

void Pump::moved_out(std::size_t bytes, bool spliced) {
  count(bytes, spliced);
  last_activity_ = relay_.context_->reactor.now();
}

void Pump::count(std::size_t bytes, bool spliced) {
  forwarded_bytes_ += bytes;
  assert(forwarded_bytes_ <= received_bytes_);
  const std::size_t spliced_bytes = spliced ? bytes : 0;
  spliced_bytes_ += spliced_bytes;
  relay_.count(*this, bytes, spliced_bytes);
}

// --- Taps and bounds ---

std::size_t Pump::allowance() const {
  constexpr auto kNone = std::numeric_limits<std::size_t>::max();
  return taps_ ? taps_->allowance() : kNone;
}

// How many bytes, at most `most`, may be read now from a source that is readable. What is read must
// be spent.
std::size_t Pump::turn_allowance(std::size_t most) {
  most = std::min(most, allowance());
  if (!throttle_ || most == 0) return most;
  return throttle_->ask(relay_.context_->reactor.now(), std::min(most, source_.unread_bytes()));
}

void Pump::spend(std::size_t bytes) { throttle_->spend(relay_.context_->reactor.now(), bytes); }

// Whether bytes wait for bandwidth. The relay's timer then wakes the pump.
bool Pump::awaits_bandwidth() {
  const TimePoint now = relay_.context_->reactor.now();
  const TimePoint next = throttle_->next_look(now);
  if (next > now) relay_.arm(next);
  return next > now;
}

// The held bytes that may be sent now: the taps have seen them, and they are below the watermark.
std::size_t Pump::forwardable_bytes() const {
  if (!held_.empty()) return below_watermark(held_.size());
  const std::size_t in_pipe = pipe_ ? pipe_->held_bytes() : 0;
  return taps_ ? below_watermark(shown_bytes_) : in_pipe;
}

// How many of the next `bytes` to forward are below the watermark.
std::size_t Pump::below_watermark(std::size_t bytes) const {
  if (!taps_) return bytes;
  const std::uint64_t mark = taps_->watermark();
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(bytes, mark - std::min(mark, forwarded_bytes_)));
}

void Pump::attach(Tap& tap) {
  if (!taps_) taps_ = std::make_unique<TapSet>();
  if (taps_->empty() && pipe_) shown_bytes_ = static_cast<std::uint32_t>(pipe_->held_bytes());
  taps_->attach(tap);
  // The receive in flight began without the tap's allowance.
  if (wait_ == Wait::receive) relay_.context_->reactor.cancel(*this);
}

// The direction may be waiting for this tap.
void Pump::detach(Tap& tap) {
  if (taps_) taps_->detach(tap);
  wake();
}

// Without taps, all held bytes may go.
void Pump::forget_detached() {
  if (!taps_ || !taps_->empty()) return;
  taps_.reset();
  shown_bytes_ = 0;
}

void Pump::close_taps() {
  if (!taps_) return;
  const std::uint64_t lost = std::min(target_.unacknowledged_bytes(), forwarded_bytes_);
  taps_->closed({received_bytes_, forwarded_bytes_, forwarded_bytes_ - lost});
}

void Pump::wake() {
  if (wait_ == Wait::receive || wait_ == Wait::readable) return flush_gathered();
  if (wait_ != Wait::allowance) return;
  last_activity_ = relay_.context_->reactor.now();  // such a wait is not idleness
  wait_ = Wait::nothing;  // a turn begins; nothing in it may begin another
  flush();
  advance();
}

// Sends the bytes that may go while the receive continues. If the target is slow, cancels the
// receive: nothing is read then.
void Pump::flush_gathered() {
  flush_held();
  if (forwardable_bytes() > 0) relay_.context_->reactor.cancel(*this);
}

TimePoint Pump::tidy(TimePoint now) {
  if (throttle_ && wait_ == Wait::allowance) wake();
  if (ended()) return TimePoint::max();
  if (promotion_.patient() && wait_ == Wait::readable) {
    if (now - last_activity_ < Promotion::kPatience) return last_activity_ + Promotion::kPatience;
    promotion_.lose_patience(thread_turns());
    follow_promotion();
  }
  if (!pipe_ || pipe_->empty()) return TimePoint::max();
  if (now - last_activity_ < kPipePause) return last_activity_ + kPipePause;
  if (pipe_->held_bytes() <= kMaxHeldBytes && !taps_ && held_.empty()) copy_pipe_to_heap();
  return TimePoint::max();
}

}  // namespace sluice
