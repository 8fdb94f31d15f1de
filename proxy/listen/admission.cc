#include "proxy/listen/admission.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cassert>
#include <string>
#include <system_error>
#include <utility>

#include "iolib/base/endpoint.h"
#include "proxy/log/log.h"

namespace sluice {
namespace {

// A shortage of places or descriptors is over once no client has had to wait for this long.
constexpr Duration kCalm = std::chrono::milliseconds(500);

// How often the queues are looked at, every Listener::kPause, after another process has failed to
// accept from them.
constexpr int kLooks = 20;

}  // namespace

Admission::Admission(Reactor& reactor, Places& places, WorkerStats& stats,
                     std::function<void(Accepted)> on_admitted, std::function<void()> on_closed)
    : reactor_(reactor),
      places_(places),
      stats_(stats),
      on_admitted_(std::move(on_admitted)),
      on_closed_(std::move(on_closed)) {}

void Admission::add(ListenSocket socket) {
  listeners_.push_back(std::make_unique<Listener>(*this, std::move(socket)));
}

void Admission::start() {
  for (const auto& listener : listeners_) {
    if (!listener->draining()) listener->start();
  }
}

void Admission::retire(const ListenChange& change, std::function<void()> done) {
  assert(!on_retired_);
  on_retired_ = std::move(done);
  for (const auto& listener : listeners_) {
    if (!change.stay.contains(listener->group())) listener->retire();
  }
  check_retired();
}

void Admission::change(const ListenChange& change, std::vector<ListenSocket> added) {
  for (const auto& listener : listeners_) {
    listener->use(change.stay.at(listener->group()));
    if (change.restarts) listener->pause();
  }
  for (ListenSocket& socket : added) add(std::move(socket));
  if (state_ == State::open) start();
  if (draining()) {
    for (const auto& listener : listeners_) listener->drain();
  }
}

// In a deferral after a listener has closed, since it is still in use then.
void Admission::check_retired() {
  if (!on_retired_) return;
  std::erase_if(listeners_, [](const auto& listener) { return listener->closed(); });
  const bool closing =
      std::ranges::any_of(listeners_, [](const auto& listener) { return listener->draining(); });
  if (!closing) std::exchange(on_retired_, nullptr)();
}

void Admission::listener_closed() {
  if (on_retired_) reactor_.defer(listener_closed_);
  check_closed();
}

void Admission::drain() {
  assert(!draining());
  state_ = State::draining;
  for (const auto& listener : listeners_) listener->drain();
  check_closed();
}

void Admission::hold() {
  if (draining()) return;
  state_ = State::held;
  for (const auto& listener : listeners_) listener->hold();
}

void Admission::release() {
  if (state_ != State::held) return;
  state_ = State::open;
  for (const auto& listener : listeners_) listener->take_back();
  looks_ = kLooks;
  must_wait() ? pause() : start();
  reactor_.set_timer(*this, reactor_.now() + Listener::kPause);
}

// The kernel wakes one of those who wait at a socket. A process that was killed can still be one of
// them for a while, and then a client stays in the queue until the next one comes.
void Admission::look_again() {
  --looks_;
  for (const auto& listener : listeners_) {
    if (listener->draining()) continue;
    listener->pause();
    listener->start();
  }
  reactor_.set_timer(*this, reactor_.now() + Listener::kPause);
}

Result<std::vector<OwnedFd>> Admission::copy_sockets() const {
  std::vector<OwnedFd> copies;
  for (const auto& listener : listeners_) {
    if (listener->closed()) continue;
    copies.emplace_back(::fcntl(listener->fd(), F_DUPFD_CLOEXEC, 0));
    if (!copies.back()) return errno_error("copy a listening socket");
  }
  return copies;
}

void Admission::turn_away() {
  assert(draining());
  if (closed()) return;
  state_ = State::turning_away;
  for (const Accepted& each : waiting_) reset_on_close(each.fd.get());
  waiting_.clear();
  check_closed();
}

void Admission::accepted(Accepted client) {
  assert(!closed());
  if (state_ == State::turning_away) return reset_on_close(client.fd.get());
  if (!must_wait() && places_.take()) return on_admitted_(std::move(client));
  if (descriptors_wanted_ == 0) note_full(1);
  if (snapshot_of) client.snapshot = snapshot_of(client.route);
  waiting_.push_back(std::move(client));
  pause();
}

void Admission::accept_failed(int error) {
  pause();
  const auto times = places_.accept_pauses.happened(reactor_.now());
  if (!times) return;
  const std::string reason = std::generic_category().message(error);
  rlimit descriptors{};
  static_cast<void>(::getrlimit(RLIMIT_NOFILE, &descriptors));
  log::warn("accept_paused", {{"reason", reason},
                              {"descriptors", std::uint64_t{descriptors.rlim_cur}},
                              {"times", *times}});
}

void Admission::descriptor_wanted(int error) {
  ++descriptors_wanted_;
  accept_failed(error);
}

// The place goes to a waiting client, but at the end of the turn: not inside the caller's call.
void Admission::leave() {
  places_.give_back();
  if (!waiting_.empty()) reactor_.defer(*this);
}

// Pauses all listeners and checks the waiting clients again after kPause.
void Admission::pause() {
  if (state_ == State::open) {
    state_ = State::paused;
    stats_.accept_pauses.add();
  }
  for (const auto& listener : listeners_) listener->pause();
  reactor_.set_timer(*this, reactor_.now() + Listener::kPause);
}

void Admission::expired() {
  if (state_ == State::open && looks_ > 0) return look_again();
  state_ == State::open ? note_calm() : serve_waiting();
}

// Admits the waiting clients first, then resumes the listeners.
void Admission::serve_waiting() {
  while (!waiting_.empty() && descriptors_wanted_ == 0 && places_.take()) {
    Accepted next = std::move(waiting_.front());
    waiting_.pop_front();
    on_admitted_(std::move(next));
  }
  if (!must_wait()) return state_ == State::paused ? resume() : check_closed();
  if (descriptors_wanted_ == 0) note_full(0);
  reactor_.set_timer(*this, reactor_.now() + Listener::kPause);
}

void Admission::resume() {
  state_ = State::open;
  start();
  reactor_.set_timer(*this, reactor_.now() + kCalm);
}

void Admission::check_closed() {
  if (!draining() || closed() || !waiting_.empty()) return;
  for (const auto& listener : listeners_) {
    if (!listener->closed()) return;
  }
  state_ = State::closed;
  on_closed_();
}

void Admission::note_full(std::uint64_t clients) {
  const auto waited = places_.full.happened(reactor_.now(), clients);
  if (!waited) return;
  log::warn("connections_full", {{"max_connections", places_.most()}, {"waited", *waited}});
}

void Admission::note_calm() {
  if (const auto waited = places_.full.ended(reactor_.now(), kCalm)) {
    log::info("connections_resumed", {{"max_connections", places_.most()}, {"waited", *waited}});
  }
  if (const auto times = places_.accept_pauses.ended(reactor_.now(), kCalm)) {
    log::info("accept_resumed", {{"times", *times}});
  }
}

}  // namespace sluice
