#include "proxy/upstream/upstream.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sluice {
namespace {

Task<Result<OwnedFd>> connect_one(Reactor& reactor, const Endpoint& upstream, Congestion congestion,
                                  TimePoint deadline, Operation*& pending, const bool& stopped) {
  Result<OwnedFd> opened = open_socket(upstream, congestion == Congestion::automatic);
  if (opened.has_error()) co_return opened.error();
  const int fd = opened->get();
  int outcome = begin_connect(fd, upstream);
  while (outcome == EINPROGRESS && !stopped) {
    Reactor::Wait wait = reactor.writable(fd, deadline);
    pending = &wait;
    const int ready = co_await wait;
    pending = nullptr;
    outcome = ready < 0 ? -ready : connect_outcome(fd);
  }
  if (outcome == EINPROGRESS) outcome = ECANCELED;
  if (was_connected(outcome)) outcome = 0;
  while (outcome == EAGAIN && upstream.is_unix()) {
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
                                         TimePoint deadline, Operation*& pending,
                                         const bool& stopped) {
  const std::vector<Endpoint>& upstreams = route.upstreams;
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
