#include "proxy/serve/listener.h"

#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <utility>

#include "proxy/log/log.h"
#include "proxy/serve/worker.h"

namespace sluice {

Listener::Listener(Worker& worker, ListenSocket socket, bool one_by_one)
    : worker_(worker), socket_(std::move(socket)), one_by_one_(one_by_one) {}

void Listener::start() {
  paused_ = false;
  if (in_flight() || !socket_.fd) return;
  if (one_by_one_) return worker_.reactor().accept_one(socket_.fd.get(), *this);
  worker_.reactor().accept(socket_.fd.get(), *this);
}

void Listener::pause() {
  paused_ = true;
  worker_.reactor().cancel(*this);
}

void Listener::drain() {
  draining_ = true;
  if (in_flight()) return worker_.reactor().cancel(*this);
  if (socket_.fd) close();
}

void Listener::complete(const Completion& completion) {
  if (completion.result >= 0) {
    const std::uint64_t live = worker_.stats().get(Counter::active);
    if (socket_.steering && socket_.steering->accepted(socket_.worker, live)) spread_by_hash();
    worker_.accepted(OwnedFd(completion.result), socket_.route, socket_.kind);
    if (completion.more) return;
  } else if (completion.result != -ECANCELED && completion.result != -ECONNABORTED) {
    if (!completion.more && !draining_) return worker_.accept_failed(-completion.result);
  }
  if (completion.more) return;
  if (draining_) return close();
  if (!paused_) start();
}

// For all workers: their sockets are one group.
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
    worker_.accepted(std::move(client), socket_.route, socket_.kind);
  }
  worker_.reactor().forget(socket_.fd.get());
  socket_.fd.reset();
  worker_.listener_closed();
}

}  // namespace sluice
