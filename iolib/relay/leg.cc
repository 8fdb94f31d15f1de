#include "iolib/relay/leg.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "iolib/base/endpoint.h"
#include "iolib/base/readiness.h"
#include "iolib/relay/relay.h"

namespace sluice {
namespace {

// Large enough to empty a receive queue in a few calls, and small enough for the stack.
constexpr std::size_t kDiscardBytes = 16 << 10;
// The most receives in one turn, so that a peer that never stops sending cannot block the loop.
constexpr int kDiscardsPerTurn = 64;

// Returns the TCP state, or -1 if the socket is not TCP. Asks for the first byte of tcp_info only.
int tcp_state(int fd) {
  std::uint8_t state = 0;
  socklen_t size = sizeof state;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &size) == 0 ? state : -1;
}

}  // namespace

Leg::Leg(Relay& relay, Reactor& reactor, OwnedFd fd, Kind kind)
    : relay_(relay), reactor_(&reactor), fd_(std::move(fd)), kind_(kind) {}

void Leg::mark_reset() {
  if (std::exchange(reset_, true)) return;
  relay_.leg_reset(*this);
}

bool Leg::end_is_orderly() {
  if (reset_) return false;
  if (kind_ != Kind::tcp || fin_sent_) return true;
  return tcp_state(fd()) != TCP_CLOSE;
}

void Leg::send_fin() {
  assert(!fin_sent_);
  if (kind_ == Kind::device || reset_) return;
  // Fails if the connection is already gone. The other direction then finds the reset, but only if
  // fin_sent_ stays false.
  fin_sent_ = ::shutdown(fd(), SHUT_WR) == 0;
}

std::uint64_t Leg::send_queue_bytes() const {
  return kind_ == Kind::tcp && fd_ ? sluice::send_queue_bytes(fd()) : 0;
}

std::uint64_t Leg::unacknowledged_bytes() const {
  const std::uint64_t queued = send_queue_bytes();
  return fin_sent_ && queued > 0 ? queued - 1 : queued;
}

std::size_t Leg::unread_bytes() const {
  int bytes = 0;
  return ::ioctl(fd(), FIONREAD, &bytes) == 0 ? static_cast<std::size_t>(bytes) : 0;
}

bool Leg::has_input() const { return unread_bytes() > 0 || ready_events(fd(), POLLIN) != 0; }
bool Leg::has_room() const { return ready_events(fd(), POLLOUT) != 0; }

void Leg::discard_received() {
  std::array<std::byte, kDiscardBytes> waste;
  for (int i = 0; i < kDiscardsPerTurn; ++i) {
    const ssize_t got = ::recv(fd(), waste.data(), waste.size(), MSG_DONTWAIT);
    if (got > 0) continue;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno != EAGAIN) mark_reset();
    if (got == 0 && !end_is_orderly()) mark_reset();
    return;
  }
}

void Leg::watch() {
  if (in_flight() || reset_ || kind_ == Kind::device) return;
  unwatching_ = false;
  reactor_->watch_errors(fd(), *this);
}

void Leg::unwatch() {
  unwatching_ = true;
  reactor_->cancel(*this);
}

void Leg::complete(const Completion& completion) {
  const bool error = completion.result >= 0 && (completion.result & POLLERR) != 0;
  // POLLHUP also follows when both directions ended in order. A connection that is closed before
  // our FIN went out did not end in order.
  const bool hang_up = completion.result >= 0 && (completion.result & POLLHUP) != 0;
  if (error || (hang_up && !end_is_orderly())) mark_reset();
  if (completion.more) return;
  if (unwatching_) return relay_.leg_unwatched();
  if (completion.result >= 0) watch();
}

void Leg::set_receive_low_water(int bytes) {
  if (low_water_bytes_ == bytes) return;
  low_water_bytes_ = bytes;
  static_cast<void>(::setsockopt(fd(), SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes));
}

void Leg::close(bool abortive) {
  if (!fd_) return;
  if (abortive && kind_ == Kind::tcp) reset_on_close(fd());
  reactor_->close(std::move(fd_));
}

}  // namespace sluice
