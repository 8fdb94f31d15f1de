#include "iolib/mirror/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "iolib/pipe/splice.h"

namespace sluice::mirror {
namespace {

// What one turn sends of a backlog, so that the next connection has its turn. A direction's own
// turn adds as much as a pipe holds, 1 MiB and at times more: with less than that a mirror that is
// as fast as production would never catch up.
constexpr std::size_t kFlushBytes = 4 << 20;
// Receives of one turn, each of which drops as much as the waste holds.
constexpr int kReceivesPerTurn = 16;
// How often a send queue is looked at that must be acknowledged before the end; the pause doubles.
constexpr Duration kFirstLook = std::chrono::milliseconds(1);
constexpr Duration kLongestLook = std::chrono::milliseconds(50);

}  // namespace

Stream::Stream(Mirror& mirror, const StreamOptions& options, bool probe)
    : mirror_(mirror),
      options_(options),
      backlog_(&mirror.budget_),
      reader_(*this, &Stream::readable),
      writer_(*this, &Stream::writable),
      look_pause_(kFirstLook),
      probe_(probe) {}

Stream::~Stream() = default;

// --- Connecting ---

// The breaker waits for a probe.
void Stream::begin() {
  if (probe_) return connect();
  pause(Mirror::kConnectPause);
}

void Stream::pause(Duration time) {
  state_ = State::pausing;
  step_deadline_ = mirror_.reactor_.now() + time;
  arm();
}

// One address after the other; what the kernel refuses at once takes no wait.
void Stream::connect() {
  state_ = State::connecting;
  if (tried_ == 0 && !retried_) mirror_.connects();
  const std::vector<Endpoint>& addresses = mirror_.addresses_;
  for (; tried_ < addresses.size(); ++tried_) {
    which_ = static_cast<std::uint32_t>((mirror_.preferred_ + tried_) % addresses.size());
    const Endpoint& to = addresses[which_];
    Result<OwnedFd> opened = open_socket(to, options_.choose_congestion);
    if (opened.has_error()) {
      error_ = opened.error();
      continue;
    }
    fd_ = std::move(*opened);
    unix_ = to.is_unix();
    const int outcome = begin_connect(fd_.get(), to);
    if (was_connected(outcome)) return connected(outcome);
    if (is_under_way(outcome)) {
      connect_deadline_ = mirror_.reactor_.now() +
                          options_.connect_timeout / static_cast<Duration::rep>(addresses.size());
      return await_connect(outcome);
    }
    error_ = {outcome, "connect " + to.text};
    close_socket();
  }
  round_failed();
}

bool Stream::is_under_way(int outcome) const {
  return outcome == EINPROGRESS || (outcome == EAGAIN && unix_);
}

void Stream::await_connect(int outcome) {
  const bool full = outcome == EAGAIN;
  step_deadline_ = connect_deadline_;
  if (full) {
    step_deadline_ = std::min(step_deadline_, mirror_.reactor_.now() + kBacklogPause);
  }
  arm();
  if (!full) await_writable();
}

// The connect took too long, or its pause for a full backlog is over.
void Stream::connect_is_late() {
  if (writer_.in_flight()) {
    timed_out_ = true;
    return mirror_.reactor_.cancel(writer_);
  }
  // A unix socket's: a path has one address, and the same one always.
  end_of_wait(begin_connect(fd_.get(), mirror_.addresses_[which_]),
              mirror_.reactor_.now() >= connect_deadline_);
}

// What has come by now is not late.
void Stream::end_of_wait(int outcome, bool is_late) {
  connect_ended(is_late && is_under_way(outcome) ? ETIMEDOUT : outcome);
}

void Stream::connect_ended(int outcome) {
  if (is_under_way(outcome)) return await_connect(outcome);
  step_deadline_ = TimePoint::max();
  if (was_connected(outcome)) return connected(outcome);
  // Who has waited in vain for so long need not be asked twice.
  if (outcome == ETIMEDOUT) retried_ = true;
  error_ = {outcome, "connect"};
  if (which_ < mirror_.addresses_.size()) error_.context += " " + mirror_.addresses_[which_].text;
  close_socket();
  ++tried_;
  connect();
}

// And perhaps broken off since.
void Stream::connected(int outcome) {
  state_ = State::open;
  if (!unix_) {
    const int unsent_bytes = Mirror::kUnsentBytes;
    static_cast<void>(::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes,
                                   sizeof unsent_bytes));
  }
  connected_at_ = mirror_.reactor_.now();
  mirror_.connected(which_);
  if (outcome != 0) return broken_off({outcome, "connect"});
  if (mirror_.breaker_.state() != Breaker::State::closed) {
    proof_deadline_ = connected_at_ + Mirror::kAtOnce;
    arm();
  }
  if (given_up_) return end(false);
  await_readable();
  flush();
}

// One more round after a pause, unless this one or others have found out that there is no use in
// it.
void Stream::round_failed() {
  if (mirror_.addresses_.empty()) error_ = {0, "its name has not been resolved"};
  if (!mirror_.addresses_.empty() && !retried_ && !given_up_ &&
      mirror_.breaker_.state() == Breaker::State::closed) {
    retried_ = true;
    return pause(mirror_.breaker_.retry_pause());
  }
  mirror_.connect_failed(error_, probe_);
  end(false);
}

void Stream::pause_is_over() {
  const bool closed = mirror_.breaker_.state() == Breaker::State::closed;
  if (!retried_) {
    if (!closed || mirror_.silent()) return take_turn(false);
    if (mirror_.admit(*this)) take_turn(true);
    return;
  }
  tried_ = 0;
  closed ? connect() : round_failed();
}

// The first time that it connects.
void Stream::take_turn(bool charged) {
  mirror_.leave_line(*this);
  // What only finds out whether the mirror can be reached leaves its place at once, for nobody.
  charged_ = charged && !given_up_;
  const bool closed = mirror_.breaker_.state() == Breaker::State::closed;
  if (closed && !mirror_.silent()) return connect();
  // As if it had come now.
  mirror_.add(Count::refused);
  end(false);
}

// Nothing is in flight on it.
void Stream::close_socket() {
  if (!fd_) return;
  if (!orderly_ && !unix_) reset_on_close(fd_.get());
  mirror_.reactor_.forget(fd_.get());
  fd_.reset();
}

// --- The tap ---

std::size_t Stream::allowance() { return std::numeric_limits<std::size_t>::max(); }

void Stream::append(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (!follows(offset, bytes.size())) return;
  const bool due = is_due(bytes.size());
  // What is little goes with what was gathered before it, in one call.
  const bool joins = due && !backlog_.empty() && may_gather(bytes.size());
  const bool direct = due && !joins && flush_gathered();
  if (direct) bytes = bytes.subspan(send_now(bytes));
  if (state_ == State::gone || bytes.empty()) return;
  if (const auto limit = keep(bytes)) return lagged(*limit);
  joins ? flush() : kept(direct);
}

void Stream::append(std::uint64_t offset, Pipe& pipe) {
  if (follows(offset, pipe.held_bytes())) {
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
  if (state_ == State::open && !behind_) flush();
}

void Stream::reset(std::uint64_t /*offset*/) {
  if (!wants_more()) return;
  end_ = End::reset;
  drain_deadline_ = mirror_.reactor_.now() + mirror_.drain_time_;
  arm();
  if (state_ == State::open && !behind_) flush();
}

void Stream::closed(const StreamTotals& /*totals*/) {
  detach_ = nullptr;
  if (state_ == State::gone) return;
  drain_deadline_ = std::min(drain_deadline_, mirror_.reactor_.now() + mirror_.drain_time_);
  arm();
}

// Whether `bytes` at `offset` come next; a stream that has missed something ends.
bool Stream::follows(std::uint64_t offset, std::uint64_t bytes) {
  if (!wants_more()) return false;
  if (offset != seen_) return lagged(Limit::hole), false;
  seen_ += bytes;
  return true;
}

// --- Sending ---

// Whether `bytes` more are too little to be sent at once.
bool Stream::may_gather(std::size_t bytes) const {
  return backlog_.size() + bytes <
         std::min<std::uint64_t>(Mirror::kGatherBytes, options_.max_lag_bytes);
}

// Whether `bytes` more may and should go now.
bool Stream::is_due(std::size_t bytes) {
  if (state_ != State::open || behind_) return false;
  const TimePoint now = mirror_.reactor_.now();
  if (may_gather(bytes) && now < last_sent_ + Mirror::kGatherTime) return false;
  last_sent_ = now;
  return true;
}

// Sends what was gathered; whether the socket may take more.
bool Stream::flush_gathered() {
  if (!backlog_.empty()) flush();
  return state_ == State::open && !behind_;
}

std::size_t Stream::send_now(std::span<const std::byte> bytes) {
  for (;;) {
    const ssize_t bytes_sent =
        ::send(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (bytes_sent >= 0) {
      sent(static_cast<std::size_t>(bytes_sent));
      return static_cast<std::size_t>(bytes_sent);
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) broken_off(errno_error("send"));
    return 0;
  }
}

void Stream::sent(std::size_t bytes) {
  sent_ += bytes;
  mirror_.add(Count::bytes, bytes);
}

void Stream::splice_now(Pipe& pipe) {
  while (!pipe.empty()) {
    const Transfer out = splice_out(pipe, fd_.get(), pipe.held_bytes());
    if (out.status == Transfer::Status::would_block) return;
    if (out.status != Transfer::Status::moved) return broken_off({out.error, "splice"});
    sent(out.bytes);
  }
}

// Both return what keeps the bytes from being kept.
std::optional<Limit> Stream::keep(std::span<const std::byte> bytes) {
  if (backlog_.size() + bytes.size() > options_.max_lag_bytes) return Limit::lag;
  if (!backlog_.append(bytes)) return Limit::budget;
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

// Something waits: for the socket, which takes no more (`refused`) or does not stand yet, or for
// what comes within a short time.
void Stream::kept(bool refused) {
  note_lag();
  if (refused || state_ != State::open) {
    fall_behind();
    // A fast stream is not to lag for a pause.
    if (state_ == State::pausing && !retried_ && !may_gather(0)) take_turn(false);
    return;
  }
  if (behind_ || step_deadline_ != TimePoint::max()) return;
  step_deadline_ = mirror_.reactor_.now() + Mirror::kGatherTime;
  arm();
}

void Stream::flush() {
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
  note_lag();
  if (!backlog_.empty()) return fall_behind();
  catch_up();
  pass_on_end();
}

void Stream::note_lag() {
  const std::size_t before = std::exchange(noted_, backlog_.size());
  mirror_.add(Count::lag, noted_ - before);
}

void Stream::fall_behind() {
  if (!std::exchange(behind_, true)) mirror_.fell_behind();
  if (state_ == State::open) await_writable();
}

void Stream::catch_up() {
  if (std::exchange(behind_, false)) mirror_.caught_up();
}

// All that came before the end is sent.
void Stream::pass_on_end() {
  if (end_ == End::eof && !fin_sent_) {
    if (::shutdown(fd_.get(), SHUT_WR) != 0) return broken_off(errno_error("shutdown"));
    fin_sent_ = true;
  }
  look_at_end();
}

void Stream::await_writable() {
  if (writer_.in_flight()) return;
  mirror_.reactor_.wait_writable(fd_.get(), writer_);
}

void Stream::writable(const Completion& completion) {
  if (state_ == State::gone) return check_gone();
  if (state_ == State::open) return flush();
  const bool is_late = std::exchange(timed_out_, false);
  const bool failed = completion.result < 0 && !is_late;
  end_of_wait(failed ? -completion.result : connect_outcome(fd_.get()), is_late);
}

// What a tap does not want must be gone from the pipe all the same.
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
      // It may still read: what it ends are its answers.
      lives();
      answers_ended_ = true;
      if (fin_sent_) look_at_end();
      return;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) break;
    return broken_off(errno_error("recv"));
  }
  await_readable();
}

// With MSG_TRUNC the kernel drops what came over TCP without copying it (tcp(7)).
ssize_t Stream::receive() {
  const ssize_t got =
      ::recv(fd_.get(), mirror_.waste_.data(), mirror_.waste_.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (got > 0) {
    answered_ = true;
    lives();
  }
  return got;
}

void Stream::lives() {
  charged_ = false;
  if (!std::exchange(lived_, true)) mirror_.sign_of_life();
}

// --- The end ---

// Nothing of what was sent may be destroyed by the reset that comes behind it. And a mirror whose
// answers have ended may have left altogether: then what it was sent comes back as a reset, of
// which nobody is told who reads no more.
void Stream::look_at_end() {
  if (end_ == End::none || (end_ == End::eof && !answers_ended_)) return;
  if (const int error = take_error(fd_.get()); error != 0) return broken_off({error, "send"});
  if (all_acknowledged()) return end(end_ == End::eof);
  step_deadline_ = mirror_.reactor_.now() + look_pause_;
  look_pause_ = std::min(2 * look_pause_, kLongestLook);
  arm();
}

// The FIN as well. What a unix socket has sent is with the reader already.
bool Stream::all_acknowledged() const { return unix_ || send_queue_bytes(fd_.get()) == 0; }

void Stream::drain_time_is_over() {
  if (state_ == State::connecting || (state_ == State::pausing && !place_)) {
    if (state_ == State::connecting) error_ = {ETIMEDOUT, "connect"};
    mirror_.connect_failed(error_, probe_);
    return end(false);
  }
  // Of places that become free only now the pace knows.
  charged_ = false;
  // A mirror that took everything, and only does not close, has what it was to have.
  if (state_ == State::open && fin_sent_ && all_acknowledged()) return end(true);
  mirror_.add(Count::unfinished);
  end(false);
}

void Stream::stop() {
  if (state_ == State::gone) return;
  if (is_unfinished()) mirror_.add(Count::unfinished);
  end(false);
}

// Or the end that stands behind them. A reset it gets anyway.
bool Stream::is_unfinished() const { return lacks_bytes() || (end_ == End::eof && !fin_sent_); }

// The FIN is one byte more, and acknowledged late: a mirror that closes with a reset mostly does it
// with that, which the kernel does not count.
bool Stream::lacks_bytes() const {
  return !backlog_.empty() || (!unix_ && send_queue_bytes(fd_.get()) > (fin_sent_ ? 1U : 0U));
}

void Stream::lagged(Limit limit) {
  state_ == State::open || place_ ? end(false) : give_up();
  mirror_.lagged(*this, limit);
}

// Fast connections lag while a mirror is connected to, whether it is far away or down: only the
// connect's own end tells the breaker which, and perhaps all others wait for just this one.
void Stream::give_up() {
  given_up_ = true;
  leave_direction();
}

// Whether a mirror that broke off lacks nothing. A unix socket breaks only where something was not
// read.
bool Stream::has_everything() const {
  return !unix_ && (fin_sent_ || end_ == End::reset) && !lacks_bytes();
}

void Stream::broken_off(const Error& error) {
  // An answer may have come before the reset of which a send was told.
  if (!answered_) static_cast<void>(receive());
  const bool at_once = !answered_ && (mirror_.reactor_.now() < connected_at_ + Mirror::kAtOnce ||
                                      sent_ <= send_queue_bytes(fd_.get()));
  const bool complete = has_everything();
  if (!complete) mirror_.broken_off(*this, error, at_once);
  // One that is complete so soon says nothing, unless the breaker waits for its word.
  const bool proves = complete && proof_deadline_ != TimePoint::max();
  at_once && !proves ? go(complete) : end(complete);
}

void Stream::end(bool orderly) {
  if (state_ == State::open) mirror_.lasted(proof_deadline_ != TimePoint::max());
  go(orderly);
}

void Stream::go(bool orderly) {
  if (std::exchange(state_, State::gone) == State::gone) return;
  orderly_ = orderly;
  mirror_.leave_line(*this);
  if (std::exchange(charged_, false)) mirror_.place_left();
  mirror_.reactor_.cancel_timer(*this);
  if (reader_.in_flight()) mirror_.reactor_.cancel(reader_);
  if (writer_.in_flight()) mirror_.reactor_.cancel(writer_);
  check_gone();
  leave_direction();
}

// The last of what is to be done: the direction may go on with its next turn.
void Stream::leave_direction() {
  backlog_.clear();
  note_lag();
  catch_up();
  if (const auto detach = std::exchange(detach_, nullptr)) detach();
}

// Goes from the timer, not from here: this may be deep within a turn.
void Stream::check_gone() {
  if (reader_.in_flight() || writer_.in_flight()) return;
  close_socket();
  mirror_.reactor_.set_timer(*this, mirror_.reactor_.now());
}

void Stream::expired() {
  if (state_ == State::gone) return mirror_.remove(*this);
  const TimePoint now = mirror_.reactor_.now();
  // Of that time nothing is left where the thread stood still, for what has come meanwhile.
  const bool stood_still = now - mirror_.drain_time_ / 10 >= drain_deadline_;
  if (stood_still) drain_deadline_ = now + mirror_.drain_time_;
  if (now >= drain_deadline_) return drain_time_is_over();
  if (now >= proof_deadline_) {
    proof_deadline_ = TimePoint::max();
    mirror_.lasted(true);
  }
  if (now >= step_deadline_) {
    step_deadline_ = TimePoint::max();
    if (state_ == State::connecting) {
      connect_is_late();
    } else if (state_ == State::pausing) {
      pause_is_over();
    } else if (!backlog_.empty()) {
      flush();
    } else {
      look_at_end();
    }
  }
  arm();
}

void Stream::arm() {
  const TimePoint next = std::min({step_deadline_, drain_deadline_, proof_deadline_});
  if (state_ == State::gone || next == TimePoint::max()) return;
  mirror_.reactor_.set_timer(*this, next);
}

}  // namespace sluice::mirror
