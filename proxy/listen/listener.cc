#include "proxy/listen/listener.h"

#include <linux/filter.h>
#include <sys/socket.h>

#include <cassert>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>

#include "iolib/base/endpoint.h"
#include "proxy/listen/admission.h"
#include "proxy/listen/tcp_socket.h"
#include "proxy/log/log.h"

namespace sluice {
namespace {

// Drops SYNs alone: a client whose last ACK was lost would believe that it is connected, and learn
// nothing of the close until it sends something.
void refuse_new_clients(int fd) {
  constexpr std::uint32_t kFlags = 13, kSyn = 0x02;  // in the TCP header
  sock_filter syns[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlags),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kSyn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  };
  const sock_fprog filter{std::size(syns), syns};
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter));
}

}  // namespace

Listener::Listener(Admission& admission, ListenSocket socket)
    : admission_(admission), socket_(std::move(socket)) {}

void Listener::start() {
  assert(state_ != State::draining);
  state_ = State::accepting;
  if (in_flight() || !socket_.fd) return;
  if (admission_.one_by_one()) return admission_.reactor().accept_one(socket_.fd.get(), *this);
  admission_.reactor().accept(socket_.fd.get(), *this);
}

// A client inherits the options as it connects.
void Listener::use(const ListenUse& use) {
  socket_.route = use.route;
  if (use.congestion && socket_.kind == Leg::Kind::tcp) {
    set_congestion(socket_.fd.get(), local_name(socket_.fd.get()), *use.congestion);
  }
  if (!use.sink) return;
  reset_clients_ = use.sink;
  reset_on_close(socket_.fd.get(), *use.sink);
}

void Listener::pause() {
  if (state_ == State::accepting) state_ = State::paused;
  admission_.reactor().cancel(*this);
}

void Listener::hold() {
  pause();
  if (socket_.kind == Leg::Kind::tcp && socket_.fd) held_ = accepted_options(socket_.fd.get());
}

void Listener::take_back() {
  const std::optional<AcceptedOptions> held = std::exchange(held_, std::nullopt);
  if (!held || !socket_.fd) return;
  const AcceptedOptions now = accepted_options(socket_.fd.get());
  if (now.congestion != held->congestion) set_congestion(socket_.fd.get(), held->congestion);
  if (now.resets != held->resets) {
    reset_on_close(socket_.fd.get(), held->resets);
    reset_clients_ = held->resets;
  }
  // Nothing tells how the other one has steered. A socket alone cannot be steered at all.
  const std::vector<int> cpus = socket_.steering ? socket_.steering->cpus() : std::vector<int>();
  static_cast<void>(cpus.empty() ? stop_steering(socket_.fd.get())
                                 : steer_by_cpu(socket_.fd.get(), cpus));
}

void Listener::drain() {
  state_ = State::draining;
  if (in_flight()) return admission_.reactor().cancel(*this);
  if (socket_.fd) close();
}

// Not if another process has the socket, too.
void Listener::retire() {
  if (socket_.kind == Leg::Kind::tcp && !socket_.inherited && socket_.fd) {
    refuse_new_clients(socket_.fd.get());
  }
  drain();
}

void Listener::complete(const Completion& completion) {
  if (completion.result >= 0) {
    const bool crowded =
        socket_.steering && socket_.steering->accepted(socket_.worker, admission_.live());
    if (crowded) spread_by_hash();
    accepted(OwnedFd(completion.result));
    if (completion.more) return;
  } else if (completion.result != -ECANCELED && completion.result != -ECONNABORTED) {
    if (!completion.more && state_ != State::draining)
      return admission_.accept_failed(-completion.result);
  }
  if (completion.more) return;
  if (state_ == State::draining) return close();
  if (state_ == State::accepting) start();
}

void Listener::accepted(OwnedFd client) {
  if (reset_clients_) reset_on_close(client.get(), *reset_clients_);
  admission_.accepted({std::move(client), socket_.route, socket_.kind, {}});
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
    accepted(std::move(client));
  }
  admission_.reactor().forget(socket_.fd.get());
  socket_.fd.reset();
  admission_.listener_closed();
}

}  // namespace sluice
