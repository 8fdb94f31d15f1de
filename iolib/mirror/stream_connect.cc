// How a stream comes to its connection.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "iolib/base/endpoint.h"
#include "iolib/mirror/stream.h"

namespace sluice::mirror {

// The breaker waits for a probe.
void Stream::begin() {
  if (probe_) return connect(State::connecting);
  set_step(mirror_.reactor_.now() + Mirror::kConnectPause);
}

void Stream::ask_for_turn() {
  if (!mirror_.is_well() || mirror_.silent()) return take_turn(false);
  if (mirror_.admit()) return take_turn(true);
  // It is only there to find out whether the mirror can be reached, as others do.
  if (end_ == End::cut) return end(false);
  enter(State::in_line);
  mirror_.join_line(*this);
}

void Stream::take_turn(bool charged) {
  // What only finds out whether the mirror can be reached leaves its place at once, for nobody.
  charged_ = charged && end_ != End::cut;
  if (mirror_.is_well() && !mirror_.silent()) return connect(State::connecting);
  // As if it had come now.
  mirror_.add(Count::refused);
  end(false);
}

void Stream::connect(State state) {
  enter(state);
  if (state == State::connecting) mirror_.connects();
  tried_ = 0;
  try_addresses();
}

// One address after the other; what the kernel refuses at once takes no wait.
void Stream::try_addresses() {
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
  set_step(full ? std::min(connect_deadline_, mirror_.reactor_.now() + kBacklogPause)
                : connect_deadline_);
  if (!full) await_writable();
}

// The connect took too long, unless it is found to have ended, or its pause for a full backlog is
// over: a unix socket's, whose path has one address, and the same one always.
void Stream::connect_is_late() {
  if (writer_.in_flight()) return mirror_.reactor_.cancel(writer_);
  connect_ended(begin_connect(fd_.get(), mirror_.addresses_[which_]));
}

// What has come by now is not late.
void Stream::connect_ended(int outcome) {
  if (is_under_way(outcome)) {
    if (mirror_.reactor_.now() < connect_deadline_) return await_connect(outcome);
    outcome = ETIMEDOUT;
  }
  step_deadline_ = TimePoint::max();
  if (was_connected(outcome)) return connected(outcome);
  if (outcome == ETIMEDOUT) {
    // Who has waited in vain for so long need not be asked twice. Perhaps it answers right now.
    enter(State::retrying);
    reset_on_close(fd_.get());
  }
  error_ = {outcome, "connect"};
  if (which_ < mirror_.addresses_.size()) error_.context += " " + mirror_.addresses_[which_].text;
  close_socket();
  ++tried_;
  try_addresses();
}

// And perhaps broken off since.
void Stream::connected(int outcome) {
  enter(backlog_.empty() ? State::current : State::behind);
  if (!unix_) {
    const int unsent_bytes = Mirror::kUnsentBytes;
    static_cast<void>(::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes,
                                   sizeof unsent_bytes));
  }
  connected_at_ = mirror_.reactor_.now();
  mirror_.connected(which_);
  if (outcome != 0) return broken_off({outcome, "connect"});
  if (!mirror_.is_well()) {
    proof_deadline_ = connected_at_ + Mirror::kAtOnce;
    arm();
  }
  if (end_ == End::cut) return end(false);
  await_readable();
  flush();
}

// One more round after a rest, unless this one or others have found out that there is no use in it.
void Stream::round_failed() {
  if (mirror_.addresses_.empty()) error_ = {0, "its name has not been resolved"};
  if (mirror_.addresses_.empty() || state_ == State::retrying || end_ == End::cut ||
      !mirror_.is_well()) {
    return connect_failed();
  }
  enter(State::resting);
  set_step(mirror_.reactor_.now() + mirror_.breaker_.retry_pause());
}

void Stream::connect_failed() {
  mirror_.connect_failed(error_, probe_);
  end(false);
}

// Nothing is in flight on it.
void Stream::close_socket() {
  if (!fd_) return;
  mirror_.reactor_.forget(fd_.get());
  fd_.reset();
}

}  // namespace sluice::mirror
