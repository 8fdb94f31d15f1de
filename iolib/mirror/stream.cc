#include "iolib/mirror/stream.h"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <limits>
#include <utility>

#include "iolib/base/send_queue.h"
#include "iolib/pipe/splice.h"

namespace sluice::mirror {
namespace {

// The most backlog bytes that one turn sends, so that other connections get their turn. Meanwhile a
// direction's own turn adds up to a pipe's content, 1 MiB and sometimes more. With a smaller limit,
// a mirror as fast as production would never catch up.
constexpr std::size_t kFlushBytes = 4 << 20;
// The least memory for bytes that are gathered, if the budget has it.
constexpr std::size_t kGatherRoom = 2 << 10;
// The most receives in one turn. Each drops up to the size of the waste buffer.
constexpr int kReceivesPerTurn = 16;

}  // namespace

Stream::Stream(Mirror& mirror, const StreamOptions& options, bool probe)
    : mirror_(mirror), options_(options), backlog_(&mirror.budget_), probe_(probe) {}

Stream::~Stream() = default;

// --- States and deadlines ---

bool Stream::may_enter(State next) const {
  const bool connects = state_ == State::connecting || state_ == State::retrying;
  switch (next) {
    case State::pausing:
      return false;
    case State::in_line:
      return state_ == State::pausing;
    case State::connecting:
      return state_ == State::pausing || state_ == State::in_line;
    case State::resting:
      return state_ == State::connecting;
    case State::retrying:
      return state_ == State::resting;
    case State::current:
      return connects || state_ == State::behind;
    case State::behind:
      return connects || state_ == State::current;
    case State::ending:
      return state_ == State::current;
    case State::gone:
      return true;
  }
  return false;
}

// Enters `next`, ends the deadline of the old state, and updates the mirror's lag counters.
void Stream::enter(State next) {
  const bool was_behind = is_behind();
  if (next != state_) {
    assert(may_enter(next));
    if (state_ == State::in_line) mirror_.leave_line(*this);
    step_deadline_ = TimePoint::max();
  }
  state_ = next;
  assert(next != State::behind || !backlog_.empty());
  assert((next != State::ending && next != State::gone) || backlog_.empty());
  const std::size_t before = std::exchange(noted_, backlog_.size());
  mirror_.add(Count::lag, noted_ - before);
  if (!was_behind && is_behind()) mirror_.fell_behind();
  if (was_behind && !is_behind()) mirror_.caught_up();
}

void Stream::set_step(TimePoint deadline) {
  step_deadline_ = deadline;
  arm();
}

void Stream::step_is_due() {
  step_deadline_ = TimePoint::max();
  switch (state_) {
    case State::pausing:
      return ask_for_turn();
    case State::resting:
      return mirror_.is_well() ? connect(State::retrying) : connect_failed();
    case State::current:
      return flush();
    case State::ending:
      return look_at_end();
    case State::in_line:
    case State::connecting:
    case State::retrying:
    case State::behind:
    case State::gone:
      break;
  }
  assert(false && "a state without a deadline");
}

void Stream::expired() {
  const TimePoint now = mirror_.reactor_.now();
  // A timer that is late by a tenth of the drain time shows that the thread stood still. The stream
  // then gets the whole time again, for what has arrived meanwhile.
  const bool stood_still = now - mirror_.drain_time_ / 10 >= drain_deadline_;
  if (stood_still) drain_deadline_ = now + mirror_.drain_time_;
  if (now >= drain_deadline_) return drain_time_is_over();
  if (now >= proof_deadline_) {
    proof_deadline_ = TimePoint::max();
    mirror_.lasted(true);
  }
  if (now >= step_deadline_) step_is_due();
  arm();
}

void Stream::arm() {
  const TimePoint next = std::min({step_deadline_, drain_deadline_, proof_deadline_});
  if (state_ == State::gone || next == TimePoint::max()) return;
  mirror_.reactor_.set_timer(*this, next);
}

// --- The tap ---

std::size_t Stream::allowance() { return std::numeric_limits<std::size_t>::max(); }

void Stream::append(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (!follows(offset, bytes.size()) || !keep_lent()) return;
  const bool due = is_due(bytes.size());
  // A small piece is sent together with the bytes gathered before it, in one call.
  const bool joins = due && !backlog_.empty() && may_gather(bytes.size());
  const bool direct = due && !joins && flush_gathered();
  // Not of a stream: it may be spliced next, and would have to wait for the report.
  if (direct && may_gather(bytes.size()) && mirror_.reactor_.send(fd_.get(), bytes, *this)) {
    lent_ = bytes;
    // A send that succeeds wakes nobody, and the counters should include its bytes soon.
    return mirror_.reactor_.hasten(Mirror::kGatherTime);
  }
  if (direct) bytes = bytes.subspan(send_now(bytes));
  if (state_ == State::gone || bytes.empty()) return;
  if (const auto limit = keep(bytes)) return lagged(*limit);
  joins ? flush() : kept(direct);
}

void Stream::append(std::uint64_t offset, Pipe& pipe) {
  if (follows(offset, pipe.held_bytes()) && keep_lent()) {
    const bool direct = is_due(pipe.held_bytes()) && flush_gathered();
    if (direct) splice_now(pipe);
    if (state_ != State::gone && !pipe.empty()) {
      const auto limit = keep(pipe);
      limit ? lagged(*limit) : kept(direct);
    }
  }
  discard(pipe);
}

void Stream::overrun(std::uint64_t /*offset*/, std::uint64_t /*bytes*/) {
  if (wants_more()) lagged(Limit::hole);
}

void Stream::eof(std::uint64_t offset) {
  if (!follows(offset, 0)) return;
  end_ = End::eof;
  if (state_ == State::current && !sending()) flush_now();
}

void Stream::reset(std::uint64_t /*offset*/) {
  if (!wants_more()) return;
  end_ = End::reset;
  drain_deadline_ = mirror_.reactor_.now() + mirror_.drain_time_;
  arm();
  if (state_ == State::current && !sending()) flush_now();
}

void Stream::closed(const StreamTotals& /*totals*/) {
  detach_ = nullptr;
  if (state_ == State::gone) return;
  drain_deadline_ = std::min(drain_deadline_, mirror_.reactor_.now() + mirror_.drain_time_);
  arm();
}

// Whether `bytes` at `offset` come next. A stream that missed bytes ends.
bool Stream::follows(std::uint64_t offset, std::uint64_t bytes) {
  if (!wants_more()) return false;
  if (offset != seen_) return lagged(Limit::hole), false;
  seen_ += bytes;
  return true;
}

// --- Sending ---

// Whether the backlog and `bytes` more are still too few to be sent at once.
bool Stream::may_gather(std::size_t bytes) const {
  return backlog_.size() + bytes <
         std::min<std::uint64_t>(Mirror::kGatherBytes, options_.max_lag_bytes);
}

// Whether `bytes` more can and should be sent now.
bool Stream::is_due(std::size_t bytes) {
  if (state_ != State::current || sending()) return false;
  const TimePoint now = mirror_.reactor_.now();
  if (may_gather(bytes) && now < last_sent_ + Mirror::kGatherTime) return false;
  last_sent_ = now;
  return true;
}

// Sends what was gathered. Returns whether the socket may take more.
bool Stream::flush_gathered() {
  if (!backlog_.empty()) flush_now();
  return state_ == State::current;
}

std::size_t Stream::send_now(std::span<const std::byte> bytes) {
  const Transfer out = send_bytes(fd_.get(), bytes);
  passed(out.bytes);
  if (out.status == Transfer::Status::failed) broken_off({out.error, "send"});
  return out.bytes;
}

void Stream::passed(std::size_t bytes) {
  sent_ += bytes;
  mirror_.add(Count::bytes, bytes);
}

// Bytes follow those of a queued send. If it is short, its rest must precede them.
bool Stream::keep_lent() {
  const auto limit = keep(std::exchange(lent_, {}));
  if (limit) lagged(*limit);
  return !limit;
}

// Reports a send that went with the turn.
void Stream::sent(int result, std::span<const std::byte> bytes) {
  if (state_ == State::gone) return check_gone();
  assert(state_ == State::current);
  if (result < 0 && !is_refused(result)) return broken_off({-result, "send"});
  const auto taken = static_cast<std::size_t>(std::max(result, 0));
  passed(taken);
  if (lent_.empty()) {
    backlog_.pop(taken);
    mirror_.add(Count::copied, taken);
  } else {
    lent_ = lent_.subspan(taken);
    if (!keep_lent()) return;
  }
  taken < bytes.size() ? fall_behind() : flush();
}

void Stream::splice_now(Pipe& pipe) {
  while (!pipe.empty()) {
    const Transfer out = splice_out(pipe, fd_.get(), pipe.held_bytes());
    if (out.status == Transfer::Status::would_block) return;
    if (out.status != Transfer::Status::moved) return broken_off({out.error, "splice"});
    passed(out.bytes);
  }
}

// Both append the bytes to the backlog. They return the limit that prevents this, if any.
std::optional<Limit> Stream::keep(std::span<const std::byte> bytes) {
  if (bytes.empty()) return std::nullopt;  // an idle stream holds no room
  if (backlog_.size() + bytes.size() > options_.max_lag_bytes) return Limit::lag;
  // One piece for what is gathered can be sent at once.
  const bool is_first = backlog_.empty() && bytes.size() < kGatherRoom;
  const auto room = is_first ? backlog_.space(kGatherRoom) : std::span<std::byte>();
  if (room.size() >= bytes.size() && !room.empty()) {
    std::ranges::copy(bytes, room.begin());
    backlog_.commit(bytes.size());
  } else if (!backlog_.append(bytes)) {
    return Limit::budget;
  }
  return std::nullopt;
}

std::optional<Limit> Stream::keep(Pipe& pipe) {
  if (backlog_.size() + pipe.held_bytes() > options_.max_lag_bytes) return Limit::lag;
  while (!pipe.empty()) {
    const std::span<std::byte> to = backlog_.space(pipe.held_bytes());
    if (to.empty()) break;
    const Transfer out = read_out(pipe, to.data(), to.size());
    if (out.status != Transfer::Status::moved) break;
    backlog_.commit(out.bytes);
  }
  if (!pipe.empty()) return Limit::budget;
  return std::nullopt;
}

// Bytes were added to the backlog. They wait for the socket, which takes no more (`refused`) or is
// not connected yet, or for more bytes to be gathered with.
void Stream::kept(bool refused) {
  if (refused) return fall_behind();
  note_lag();
  // A fast stream must not lag because of a pause: it takes its turn as soon as it has enough
  // bytes.
  const bool pauses = state_ == State::pausing || state_ == State::in_line;
  if (pauses && !may_gather(0)) return take_turn(false);
  if (state_ == State::current && step_deadline_ == TimePoint::max()) {
    set_step(mirror_.reactor_.now() + Mirror::kGatherTime);
  }
}

// Sends the backlog: gathered bytes with the turn, if possible.
void Stream::flush() {
  if (sending()) return;  // sent() continues
  const bool is_small = !backlog_.empty() && backlog_.front().size() == backlog_.size();
  if (state_ != State::current || !is_small ||
      !mirror_.reactor_.send_own(fd_.get(), backlog_.front(), *this)) {
    return flush_now();
  }
  step_deadline_ = TimePoint::max();
  last_sent_ = mirror_.reactor_.now();
  mirror_.reactor_.hasten(Mirror::kGatherTime);
}

void Stream::flush_now() {
  assert((state_ == State::current || state_ == State::behind) && !writer_.in_flight());
  step_deadline_ = TimePoint::max();
  if (!backlog_.empty()) last_sent_ = mirror_.reactor_.now();
  std::size_t left = kFlushBytes;
  while (!backlog_.empty() && left > 0) {
    std::span<const std::byte> bytes = backlog_.front();
    bytes = bytes.first(std::min(bytes.size(), left));
    const std::size_t taken = send_now(bytes);
    if (state_ == State::gone) return;
    backlog_.pop(taken);
    mirror_.add(Count::copied, taken);
    left -= taken;
    if (taken < bytes.size()) break;
  }
  if (!backlog_.empty()) return fall_behind();
  enter(State::current);
  if (end_ != End::none) pass_on_end();
}

void Stream::fall_behind() {
  enter(State::behind);
  await_writable();
}

// Everything before the end is sent: passes the end on.
void Stream::pass_on_end() {
  if (end_ == End::eof && ::shutdown(fd_.get(), SHUT_WR) != 0) {
    return broken_off(errno_error("shutdown"));
  }
  enter(State::ending);
  last_sent_ = mirror_.reactor_.now();
  look_at_end();
}

void Stream::await_writable() {
  if (writer_.in_flight()) return;
  mirror_.reactor_.wait_writable(fd_.get(), writer_);
}

void Stream::writable(const Completion& /*completion*/) {
  state_ == State::gone ? check_gone() : flush();
}

// Empties the pipe: the caller expects that the tap takes everything.
void Stream::discard(Pipe& pipe) {
  while (!pipe.empty()) {
    const Transfer out = read_out(pipe, mirror_.waste_.data(), mirror_.waste_.size());
    if (out.status != Transfer::Status::moved) return;
  }
}

// --- Answers ---

void Stream::await_readable() {
  if (reader_.in_flight()) return;
  mirror_.reactor_.wait_readable(fd_.get(), reader_);
}

void Stream::readable(const Completion& /*completion*/) {
  if (state_ == State::gone) return check_gone();
  for (int i = 0; i < kReceivesPerTurn; ++i) {
    const ssize_t got = receive();
    if (got > 0) continue;
    if (got == 0) {
      // The mirror has ended its answers, but may still read.
      heard(Heard::end);
      if (state_ == State::ending) look_at_end();
      return;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) break;
    return broken_off(errno_error("recv"));
  }
  await_readable();
}

// With MSG_TRUNC, the kernel discards TCP data without copying it (tcp(7)).
ssize_t Stream::receive() {
  const ssize_t got =
      ::recv(fd_.get(), mirror_.waste_.data(), mirror_.waste_.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (got > 0) heard(Heard::answer);
  return got;
}

// The mirror sent an answer or its end. The first one is a sign of life.
void Stream::heard(Heard what) {
  charged_ = false;
  if (std::exchange(heard_, std::max(heard_, what)) == Heard::nothing) mirror_.sign_of_life();
}

// --- The end ---

// Ends the stream once everything is acknowledged, because a reset discards unacknowledged bytes. A
// mirror whose answers have ended may have closed its socket: it then responds to further bytes
// with a reset, which only SO_ERROR shows, because nothing is received any more.
void Stream::look_at_end() {
  assert(state_ == State::ending);
  // While the reader is in flight, the answers have not ended.
  if (end_ == End::eof && reader_.in_flight()) return;
  if (const int error = take_error(fd_.get()); error != 0) return broken_off({error, "send"});
  if (all_acknowledged()) return end(end_ == End::eof);
  // Checks again after as long as it has waited so far, within bounds.
  const TimePoint now = mirror_.reactor_.now();
  set_step(now + std::clamp(now - last_sent_, SendQueueWatch::kFirstPause,
                            SendQueueWatch::kLongestPause));
}

// Whether the mirror acknowledged all bytes, and the FIN. For a unix socket this is always true:
// sent bytes are already with the reader.
bool Stream::all_acknowledged() const { return unix_ || send_queue_bytes(fd_.get()) == 0; }

void Stream::drain_time_is_over() {
  if (!is_open() && state_ != State::in_line) {
    const bool pauses = state_ == State::pausing || state_ == State::resting;
    if (!pauses) error_ = {ETIMEDOUT, "connect"};
    return connect_failed();
  }
  // The pace's interval already accounts for places that become free by the drain time.
  charged_ = false;
  // A mirror that took everything and only does not close counts as complete.
  if (fin_sent() && all_acknowledged()) return end(true);
  mirror_.add(Count::unfinished);
  end(false);
}

void Stream::stop() {
  if (state_ == State::gone) return;
  if (is_unfinished()) mirror_.add(Count::unfinished);
  end(false);
}

// Whether bytes, or the FIN, have not reached the mirror. A reset reaches it in any case.
bool Stream::is_unfinished() const { return lacks_bytes() || (end_ == End::eof && !fin_sent()); }

// The FIN counts as one byte. A mirror that closes with a reset mostly acknowledges the FIN only
// with that reset, which the kernel does not count: one missing byte is accepted then.
bool Stream::lacks_bytes() const {
  return sending() || !backlog_.empty() ||
         (!unix_ && send_queue_bytes(fd_.get()) > (fin_sent() ? 1U : 0U));
}

void Stream::lagged(Limit limit) {
  if (is_open() || state_ == State::in_line) {
    end(false);
  } else {
    // Fast connections lag while they connect to a mirror that is far away or down. Only the end of
    // the connect tells the breaker which of the two it is, and other streams may depend on that.
    end_ = End::cut;
    leave_direction();
  }
  mirror_.lagged(*this, limit);
}

// Whether a mirror that broke off has received everything. A unix socket breaks only if something
// was not read.
bool Stream::has_everything() const {
  return !unix_ && (fin_sent() || end_ == End::reset) && !lacks_bytes();
}

void Stream::broken_off(const Error& error) {
  // An answer may have arrived before the reset that made a send fail.
  if (heard_ != Heard::answer) static_cast<void>(receive());
  const bool at_once =
      heard_ != Heard::answer && (mirror_.reactor_.now() < connected_at_ + Mirror::kAtOnce ||
                                  sent_ <= send_queue_bytes(fd_.get()));
  const bool complete = has_everything();
  if (!complete) mirror_.broken_off(*this, error, at_once);
  // A complete stream that ended at once proves nothing, unless the breaker waits for its outcome.
  const bool proves = complete && proof_deadline_ != TimePoint::max();
  at_once && !proves ? go(complete) : end(complete);
}

void Stream::end(bool orderly) {
  if (is_open()) mirror_.lasted(proof_deadline_ != TimePoint::max());
  go(orderly);
}

void Stream::go(bool orderly) {
  if (state_ == State::gone) return;
  if (sending()) {
    mirror_.reactor_.carry_out();
    mirror_.reactor_.hasten();
  }
  backlog_.clear();
  enter(State::gone);
  if (fd_ && !orderly && !unix_) reset_on_close(fd_.get());
  if (charged_) mirror_.place_left();
  mirror_.reactor_.cancel_timer(*this);
  if (connecting_) connecting_->connector.cancel();
  if (reader_.in_flight()) mirror_.reactor_.cancel(reader_);
  if (writer_.in_flight()) mirror_.reactor_.cancel(writer_);
  check_gone();
  leave_direction();
}

// Drops the backlog and detaches the tap. This comes last, because the direction may go on with its
// next turn.
void Stream::leave_direction() {
  backlog_.clear();
  note_lag();
  if (const auto detach = std::exchange(detach_, nullptr)) detach();
}

// Removes the stream at the end of the turn, because this call may be deep within another one.
void Stream::check_gone() {
  if (connecting_ || reader_.in_flight() || writer_.in_flight() || sending()) return;
  mirror_.reactor_.close(std::move(fd_));
  mirror_.reactor_.defer(*this);
}

}  // namespace sluice::mirror
