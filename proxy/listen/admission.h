#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "iolib/reactor/reactor.h"
#include "iolib/relay/leg.h"
#include "proxy/listen/listen_sockets.h"
#include "proxy/listen/listener.h"
#include "proxy/listen/places.h"
#include "proxy/log/stats.h"

namespace sluice {

/// A client that a listener has accepted for a route.
struct Accepted {
  OwnedFd fd;
  std::size_t route = 0;
  Leg::Kind kind = Leg::Kind::tcp;
};

/// Which clients one worker takes, and when: its listeners, and the clients that wait for a place.
/// Belongs to the worker's thread.
class Admission final : private Timer, private Deferral {
 public:
  /// All are borrowed. `on_admitted` gets each client that has a place, which it gives back by
  /// leave(). `on_closed` is called once, after drain(): nobody is admitted any more.
  Admission(Reactor& reactor, Places& places, Stats& stats,
            std::function<void(Accepted)> on_admitted, std::function<void()> on_closed);

  /// Accepts from it, too, once started. Before start(), on any thread.
  void add(ListenSocket socket);
  void start();
  /// Accepts what has come so far, and then nobody.
  void drain();
  [[nodiscard]] bool draining() const { return state_ >= State::draining; }
  /// Resets who waits, and who is still accepted. After drain().
  void turn_away();
  [[nodiscard]] bool closed() const { return state_ == State::closed; }

  // For sessions.

  /// The session of an admitted client has ended.
  void leave();
  /// A session waits for a descriptor, for want of which `error` came: nobody is admitted until
  /// descriptor_had() has been called as often.
  void descriptor_wanted(int error);
  void descriptor_had() { --descriptors_wanted_; }

  // For listeners.

  [[nodiscard]] Reactor& reactor() { return reactor_; }
  /// Connections that this worker serves.
  [[nodiscard]] std::uint64_t live() const { return stats_.get(Counter::active); }
  /// Admits a client, or lets it wait for a place.
  void accepted(Accepted client);
  void accept_failed(int error);
  void listener_closed() { check_closed(); }

 private:
  // Those who wait are served in each of them but `turning_away` and `closed`.
  enum class State : std::uint8_t {
    open,          ///< the listeners accept; nobody waits
    paused,        ///< they rest until nobody waits
    draining,      ///< they close
    turning_away,  ///< the same, and nobody is admitted
    closed,
  };

  void expired() override;
  void deferred() override { serve_waiting(); }
  [[nodiscard]] bool must_wait() const { return !waiting_.empty() || descriptors_wanted_ > 0; }
  void pause();
  void serve_waiting();
  void resume();
  void check_closed();
  void note_full(std::uint64_t clients);
  void note_calm();

  Reactor& reactor_;
  Places& places_;
  Stats& stats_;
  const std::function<void(Accepted)> on_admitted_;
  const std::function<void()> on_closed_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  /// Accepted beyond the places: what one batch of the kernel's brought, at most a backlog.
  std::deque<Accepted> waiting_;
  std::uint32_t descriptors_wanted_ = 0;  ///< by sessions that wait for one
  State state_ = State::open;
};

}  // namespace sluice
