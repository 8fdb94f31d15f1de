#include "iolib/reactor/connector.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

namespace sluice {

void Connector::start() {
  assert(state_ == State::idle);
  state_ = State::trying;
  if (options_.endpoints.empty()) return end(Error{ENOENT, "connect: no address"});
  try_endpoints();
}

// The timer ends the connector in the same way as an attempt that times out.
void Connector::cancel() {
  if (state_ != State::trying) return;
  state_ = State::cancelled;
  reactor_.set_timer(*this, reactor_.now());
}

void Connector::try_endpoints() {
  while (tried_ < options_.endpoints.size()) {
    const TimePoint now = reactor_.now();
    const auto attempts_left = static_cast<Duration::rep>(options_.endpoints.size() - tried_);
    until_ = now + std::max(options_.deadline - now, Duration::zero()) / attempts_left;
    Result<OwnedFd> opened = open_socket(endpoint(), options_.choose_congestion);
    if (opened.has_value() && has_source()) {
      const Result<> bound = bind_source(opened->get(), *options_.source, endpoint());
      if (bound.has_error()) opened = bound.error();
    }
    if (opened.has_error()) {
      error_ = opened.error();
      ++tried_;
      continue;
    }
    fd_ = std::move(*opened);
    if (endpoint().is_unix()) {
      refuse_descriptors(fd_.get());
    } else if (options_.half_open) {
      hold_half_open(fd_.get());
    }
    if (pursue(begin_connect(fd_.get(), endpoint()))) return;
  }
  end(std::move(error_));
}

void Connector::complete(const Completion& completion) {
  reactor_.cancel_timer(*this);
  const bool failed = completion.result < 0 && completion.result != -ECANCELED;
  go_on(failed ? -completion.result : connect_outcome(fd_.get(), endpoint()));
}

// The attempt has timed out, or the pause before the next try at a full backlog is over.
void Connector::expired() {
  if (in_flight()) return reactor_.cancel(*this);
  go_on(state_ == State::cancelled ? ECANCELED : begin_connect(fd_.get(), endpoint()));
}

void Connector::go_on(int outcome) {
  if (state_ == State::cancelled) {
    close(true);
    return end(Error{ECANCELED, "connect " + endpoint().text});
  }
  if (!pursue(outcome)) try_endpoints();
}

// Returns false if the attempt failed. Otherwise the attempt waits, or the connector has ended.
bool Connector::pursue(int outcome) {
  if (was_connected(outcome)) {
    if (!endpoint().is_unix() && !options_.half_open) {
      if (options_.sends_directly) {
        set_flag(fd_.get(), IPPROTO_TCP, TCP_NODELAY);
      } else {
        reactor_.set_flag(fd_.get(), IPPROTO_TCP, TCP_NODELAY);
      }
      reactor_.set_flag(fd_.get(), SOL_SOCKET, SO_KEEPALIVE);
    }
    end(Connected{std::move(fd_), which(), outcome});
    return true;
  }
  const bool full = outcome == EAGAIN && endpoint().is_unix();
  if (full || outcome == EINPROGRESS) {
    const TimePoint now = reactor_.now();
    if (now < until_) {
      reactor_.set_timer(*this, full ? std::min(until_, now + kBacklogPause) : until_);
      if (!full) reactor_.wait_writable(fd_.get(), *this);
      return true;
    }
    outcome = ETIMEDOUT;
  }
  // An address that this machine cannot try says less than one that refused.
  if (error_.code == 0 || !is_own_failure(outcome))
    error_ = {outcome, "connect " + endpoint().text};
  timed_out_ = timed_out_ || outcome == ETIMEDOUT;
  close(outcome == ETIMEDOUT);
  ++tried_;
  return false;
}

void Connector::end(Result<Connected> connected) {
  state_ = State::ended;
  ended(std::move(connected));
}

// The server may accept an attempt just as it is abandoned: a reset tells the server that the
// client is gone.
void Connector::close(bool by_reset) {
  if (by_reset) reset_on_close(fd_.get());
  reactor_.forget(fd_.get());
  fd_.reset();
}

bool Connector::has_source() const {
  return options_.source != nullptr && options_.source->family() != AF_UNSPEC &&
         !endpoint().is_unix();
}

std::size_t Connector::which() const {
  return (options_.first + tried_) % options_.endpoints.size();
}

}  // namespace sluice
