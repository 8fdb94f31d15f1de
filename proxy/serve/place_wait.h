#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "iolib/base/clock.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"
#include "iolib/relay/end_reason.h"
#include "proxy/upstream/route_queue.h"

namespace sluice {

/// A client that waits until its route, and one of the route's servers, has a place for it. Lives
/// as long as that takes.
class PlaceWait final : private RouteQueue::Waiter {
 public:
  /// Takes the places.
  class Taker {
   public:
    /// Takes all that the client needs, or nothing. Returns whether it has them now.
    [[nodiscard]] virtual bool take() = 0;
    /// How long clients may wait. It can change while they do.
    [[nodiscard]] virtual Duration longest_wait() const = 0;

   protected:
    ~Taker() = default;
  };

  /// Borrows all but the queue. `client`: its socket.
  PlaceWait(Reactor& reactor, std::shared_ptr<RouteQueue> queue, int client, Taker& taker)
      : Waiter(reactor), queue_(std::move(queue)), reactor_(reactor), taker_(taker), fd_(client) {}

  /// Waits behind all others, unless `most` do already; 0: it has places at once or not. Returns
  /// why the connection ends, or none: it has its places.
  [[nodiscard]] Task<EndReason> run(std::uint64_t most);
  /// Waits before all others: it has been served before them, or has waited already, for `waited`.
  [[nodiscard]] Task<EndReason> run_again(Duration waited);
  /// Makes both end soon.
  void cancel();

 private:
  [[nodiscard]] Task<EndReason> wait(TimePoint began);
  [[nodiscard]] bool has_left() const;
  void woken() override;

  std::shared_ptr<RouteQueue> queue_;
  Reactor& reactor_;
  Taker& taker_;
  Reactor::Wait* wait_ = nullptr;
  const int fd_;
  bool cancelled_ = false;
};

}  // namespace sluice
