#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/reactor/calling.h"
#include "iolib/reactor/reactor.h"
#include "iolib/relay/leg.h"
#include "proxy/listen/listen_sockets.h"
#include "proxy/listen/listener.h"
#include "proxy/listen/places.h"
#include "proxy/log/stats.h"
#include "proxy/upstream/route.h"

namespace sluice {

/// A client that a listener has accepted for a route.
struct Accepted {
  OwnedFd fd;
  std::size_t route = 0;  ///< its number
  Leg::Kind kind = Leg::Kind::tcp;
  RouteSnapshot snapshot = {};  ///< the route as it was then, if the client had to wait
};

/// What becomes of the listeners of a worker at a reload.
struct ListenChange {
  std::unordered_map<std::size_t, ListenUse> stay;  ///< by group; all others close
  bool restarts = false;                            ///< Places::one_by_one() has changed
};

/// Decides which clients one worker admits, and when. Owns the worker's listeners and the clients
/// that wait for a place. Belongs to the worker's thread.
class Admission final : private Timer, private Deferral {
 public:
  /// Everything is borrowed. `on_admitted` gets each admitted client; its place is taken until
  /// leave(). `on_closed` is called once, after drain(), when no further client can be admitted.
  Admission(Reactor& reactor, Places& places, WorkerStats& stats,
            std::function<void(Accepted)> on_admitted, std::function<void()> on_closed);

  /// Adds a listening socket; start() begins to accept from it. Any thread, but before start().
  void add(ListenSocket socket);
  /// Begins to accept.
  void start();
  /// Admits the clients that are already queued at the listeners that do not stay, then closes
  /// these. Calls `done` once they are closed, some turns later at most.
  void retire(const ListenChange& change, std::function<void()> done);
  /// Changes the listeners that stay, and begins to accept from those in `added`. After retire().
  void change(const ListenChange& change, std::vector<ListenSocket> added);
  /// Gives the current snapshot of a route. To be set before start().
  std::function<RouteSnapshot(std::size_t route)> snapshot_of = {};
  /// Accepts the clients that are already queued, then closes the listeners.
  void drain();
  [[nodiscard]] bool draining() const { return state_ >= State::draining; }
  /// Stops accepting: clients stay queued in the kernel, where another process with copies of the
  /// sockets may take them. No effect while draining.
  void hold();
  /// Accepts again after hold(). The sockets get the options back that they had then.
  void release();
  /// Copies of the listening sockets, in the order in which they were added. An error if there are
  /// no descriptors.
  [[nodiscard]] Result<std::vector<OwnedFd>> copy_sockets() const;
  /// Resets all waiting clients and those that are still accepted later. Only after drain().
  void turn_away();
  /// True once no further client can be admitted.
  [[nodiscard]] bool closed() const { return state_ == State::closed; }

  // For sessions.

  /// Gives back the place of an admitted client whose session has ended.
  void leave();
  /// A session waits for a descriptor after a call failed with `error`. No client is admitted until
  /// descriptor_had() has been called as often as this.
  void descriptor_wanted(int error);
  /// The session has its descriptor, or no longer needs one.
  void descriptor_had() { --descriptors_wanted_; }

  // For listeners.

  [[nodiscard]] Reactor& reactor() { return reactor_; }
  /// The connections that this worker serves now.
  [[nodiscard]] std::uint64_t live() const { return stats_.active; }
  /// Admits `client` if a place is free; otherwise the client waits for one.
  void accepted(Accepted client);
  /// Pauses all listeners after accept(2) failed with `error`, an errno.
  void accept_failed(int error);
  void listener_closed();
  [[nodiscard]] bool one_by_one() const { return places_.one_by_one(); }

 private:
  // Waiting clients are admitted in all states except `turning_away` and `closed`.
  enum class State : std::uint8_t {
    open,          ///< the listeners accept; no client waits
    paused,        ///< the listeners are paused until no client waits
    held,          ///< the listeners are paused until release()
    draining,      ///< the listeners close
    turning_away,  ///< as `draining`, and new clients are reset
    closed,
  };

  void expired() override;
  void deferred() override { serve_waiting(); }
  [[nodiscard]] bool must_wait() const { return !waiting_.empty() || descriptors_wanted_ > 0; }
  void pause();
  void look_again();
  void serve_waiting();
  void resume();
  void check_closed();
  void check_retired();
  void note_full(std::uint64_t clients);
  void note_calm();

  Reactor& reactor_;
  Places& places_;
  WorkerStats& stats_;
  const std::function<void(Accepted)> on_admitted_;
  const std::function<void()> on_closed_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  /// Clients that were accepted while no place was free. One batch of the kernel brings at most a
  /// backlog of them.
  std::deque<Accepted> waiting_;
  std::uint32_t descriptors_wanted_ = 0;  ///< sessions that wait for a descriptor
  int looks_ = 0;  ///< how often the listeners' queues are still to be looked at after release()
  State state_ = State::open;
  std::function<void()> on_retired_;  ///< set while listeners close for retire()
  CallingDeferral<&Admission::check_retired> listener_closed_{*this};
};

}  // namespace sluice
