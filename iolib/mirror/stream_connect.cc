// How a stream comes to its connection.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <memory>
#include <utility>

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

Stream::Connecting::Connecting(Stream& stream)
    : addresses(stream.mirror_.addresses_),
      connector(stream, stream.mirror_.reactor_,
                {.endpoints = *addresses,
                 .first = stream.mirror_.preferred_,
                 .deadline = stream.mirror_.reactor_.now() + stream.options_.connect_timeout,
                 .choose_congestion = stream.options_.choose_congestion}) {}

void Stream::connect(State state) {
  enter(state);
  if (state == State::connecting) mirror_.connects();
  if (mirror_.addresses_->empty()) {
    error_ = {0, "its name is not resolved yet"};
    return connect_failed();
  }
  connecting_ = std::make_unique<Connecting>(*this);
  connecting_->connector.start();
}

// After the first round there is one more, after a rest, unless this one or others have found out
// that there is no use in it: who has waited in vain for a time-out need not be asked twice.
void Stream::connect_ended(Result<Connected> outcome) {
  const std::unique_ptr<Connecting> round = std::move(connecting_);
  if (state_ == State::gone) return check_gone();
  if (outcome.has_value()) {
    unix_ = (*round->addresses)[outcome->which].is_unix();
    return connected(std::move(*outcome));
  }
  error_ = outcome.error();
  if (state_ == State::retrying || round->connector.timed_out() || end_ == End::cut ||
      !mirror_.is_well()) {
    return connect_failed();
  }
  enter(State::resting);
  set_step(mirror_.reactor_.now() + mirror_.breaker_.retry_pause());
}

// And perhaps broken off since.
void Stream::connected(Connected connected) {
  fd_ = std::move(connected.fd);
  enter(backlog_.empty() ? State::current : State::behind);
  if (!unix_) {
    const int unsent_bytes = Mirror::kUnsentBytes;
    static_cast<void>(::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes,
                                   sizeof unsent_bytes));
  }
  connected_at_ = mirror_.reactor_.now();
  mirror_.connected(connected.which);
  if (connected.broken != 0) return broken_off({connected.broken, "connect"});
  if (!mirror_.is_well()) {
    proof_deadline_ = connected_at_ + Mirror::kAtOnce;
    arm();
  }
  if (end_ == End::cut) return end(false);
  await_readable();
  flush();
}

void Stream::connect_failed() {
  mirror_.connect_failed(error_, probe_);
  end(false);
}

}  // namespace sluice::mirror
