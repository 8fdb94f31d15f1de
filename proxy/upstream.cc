#include "proxy/upstream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sluice {
namespace {

// A unix socket whose backlog is full refuses with EAGAIN, and tells nobody when it has room again.
constexpr Duration kBacklogPause = std::chrono::milliseconds(5);

void set_flag(int fd, int level, int option) {
  const int on = 1;
  static_cast<void>(::setsockopt(fd, level, option, &on, sizeof on));
}

Result<OwnedFd> open_socket(const Endpoint& upstream, Congestion congestion) {
  OwnedFd fd(::socket(upstream.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("socket");
  if (upstream.kind == Leg::Kind::tcp) {
    set_flag(fd.get(), IPPROTO_TCP, TCP_NODELAY);
    set_flag(fd.get(), SOL_SOCKET, SO_KEEPALIVE);
    if (congestion == Congestion::automatic) {
      choose_congestion_control(fd.get(), reinterpret_cast<const sockaddr*>(&upstream.address));
    }
  }
  // Urgent data keeps its place in the stream.
  set_flag(fd.get(), SOL_SOCKET, SO_OOBINLINE);
  return fd;
}

// Begins a connect: 0, EINPROGRESS while it is under way, or why it failed.
int begin_connect(int fd, const Endpoint& upstream) {
  const auto* address = reinterpret_cast<const sockaddr*>(&upstream.address);
  if (::connect(fd, address, upstream.size_bytes) == 0) return 0;
  return errno == EINTR ? EINPROGRESS : errno;
}

// What has become of a connect that was under way. A second connect(2) would tell as well, but it
// disconnects a connection that was reset since, and with it goes what had been received.
int connect_outcome(int fd) {
  pollfd polled{.fd = fd, .events = POLLOUT, .revents = 0};
  if (::poll(&polled, 1, 0) <= 0) return EINPROGRESS;
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return errno;
  // Connected, and reset since: the relay reads what came before that, and passes the reset on.
  return error == ECONNRESET || error == EPIPE ? 0 : error;
}

Task<Result<OwnedFd>> connect_one(Reactor& reactor, const Endpoint& upstream, Congestion congestion,
                                  TimePoint deadline, Operation*& pending, const bool& stopped) {
  Result<OwnedFd> opened = open_socket(upstream, congestion);
  if (opened.has_error()) co_return opened.error();
  const int fd = opened->get();
  int outcome = begin_connect(fd, upstream);
  // On the same machine the handshake is usually over by now.
  if (outcome == EINPROGRESS) outcome = connect_outcome(fd);
  while (outcome == EINPROGRESS) {
    Reactor::Wait wait = reactor.writable(fd, deadline);
    pending = &wait;
    const int ready = co_await wait;
    pending = nullptr;
    outcome = ready < 0 ? -ready : connect_outcome(fd);
  }
  while (outcome == EAGAIN && upstream.kind == Leg::Kind::unix_stream) {
    if (stopped) {
      outcome = ECANCELED;
      break;
    }
    if (reactor.now() + kBacklogPause >= deadline) {
      outcome = ETIMEDOUT;
      break;
    }
    co_await reactor.sleep_until(reactor.now() + kBacklogPause);
    outcome = begin_connect(fd, upstream);
  }
  if (outcome == 0) co_return std::move(*opened);
  reactor.forget(fd);
  co_return Error{outcome, "connect " + upstream.text};
}

}  // namespace

Task<Result<Connected>> connect_upstream(Reactor& reactor, const Route& route, std::size_t first,
                                         Operation*& pending, const bool& stopped) {
  const std::vector<Endpoint>& upstreams = route.upstreams;
  const TimePoint deadline = reactor.now() + route.config.connect_timeout;
  Error last{ENOENT, "connect: no address"};
  for (std::size_t tried = 0; tried < upstreams.size(); ++tried) {
    const std::size_t which = (first + tried) % upstreams.size();
    const TimePoint now = reactor.now();
    const auto attempts_left = static_cast<int>(upstreams.size() - tried);
    const TimePoint until = now + std::max(deadline - now, Duration::zero()) / attempts_left;
    Result<OwnedFd> fd = co_await connect_one(reactor, upstreams[which], route.config.congestion,
                                              until, pending, stopped);
    if (fd.has_value()) co_return Connected{std::move(*fd), which};
    last = fd.error();
    if (last.code == ECANCELED) break;
  }
  co_return last;
}

}  // namespace sluice
