// How a stream connects.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <memory>
#include <utility>

#include "iolib/mirror/stream.h"

namespace sluice::mirror {

// A probe connects at once, because the breaker waits for it.
void Stream::begin() {
  if (probe_) return connect(State::connecting);
  set_step(mirror_.reactor_.now() + Mirror::kConnectPause);
}

void Stream::ask_for_turn() {
  if (!mirror_.is_well() || mirror_.silent()) return take_turn(false);
  if (mirror_.admit()) return take_turn(true);
  // The stream only waits to learn whether the mirror can be reached; other streams find that out.
  if (end_ == End::cut) return end(false);
  enter(State::in_line);
  mirror_.join_line(*this);
}

void Stream::take_turn(bool charged) {
  // A stream that was cut leaves its place at once, which frees nothing for another stream.
  charged_ = charged && end_ != End::cut;
  if (mirror_.is_well() && !mirror_.silent()) return connect(State::connecting);
  // Refused, as a connection that came now would be.
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

// After the first round and a rest there is a second one, unless the first one timed out, the
// stream was cut, or the breaker has opened meanwhile.
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

// The socket is connected, but the mirror may have broken it off since.
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
