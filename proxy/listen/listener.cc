#include "proxy/listen/listener.h"

#include <sys/socket.h>

#include <cassert>
#include <cerrno>
#include <string>
#include <utility>

#include "proxy/listen/admission.h"
#include "proxy/log/log.h"

namespace sluice {

Listener::Listener(Admission& admission, ListenSocket socket, bool one_by_one)
    : admission_(admission), socket_(std::move(socket)), one_by_one_(one_by_one) {}

void Listener::start() {
  assert(state_ != State::draining);
  state_ = State::accepting;
  if (in_flight() || !socket_.fd) return;
  if (one_by_one_) return admission_.reactor().accept_one(socket_.fd.get(), *this);
  admission_.reactor().accept(socket_.fd.get(), *this);
}

void Listener::pause() {
  if (state_ == State::accepting) state_ = State::paused;
  admission_.reactor().cancel(*this);
}

void Listener::drain() {
  state_ = State::draining;
  if (in_flight()) return admission_.reactor().cancel(*this);
  if (socket_.fd) close();
}

void Listener::complete(const Completion& completion) {
  if (completion.result >= 0) {
    const bool crowded =
        socket_.steering && socket_.steering->accepted(socket_.worker, admission_.live());
    if (crowded) spread_by_hash();
    admission_.accepted({OwnedFd(completion.result), socket_.route, socket_.kind});
    if (completion.more) return;
  } else if (completion.result != -ECANCELED && completion.result != -ECONNABORTED) {
    if (!completion.more && state_ != State::draining)
      return admission_.accept_failed(-completion.result);
  }
  if (completion.more) return;
  if (state_ == State::draining) return close();
  if (state_ == State::accepting) start();
}

// Stops steering for all workers, because their sockets are one SO_REUSEPORT group.
void Listener::spread_by_hash() {
  const std::string& address = socket_.steering->address();
  if (const Result<> stopped = stop_steering(socket_.fd.get()); stopped.has_error()) {
    const std::string reason = stopped.error().to_string();
    return log::warn("steering_not_stopped", {{"address", address}, {"reason", reason}});
  }
  log::info("steering_stopped",
            {{"address", address}, {"reason", "most connections arrive on one CPU"}});
}

void Listener::close() {
  for (;;) {
    OwnedFd client(::accept4(socket_.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      break;
    }
    admission_.accepted({std::move(client), socket_.route, socket_.kind});
  }
  admission_.reactor().forget(socket_.fd.get());
  socket_.fd.reset();
  admission_.listener_closed();
}

}  // namespace sluice
