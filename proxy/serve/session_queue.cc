// How a session waits for its place.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "proxy/serve/session.h"
#include "proxy/serve/worker.h"

namespace sluice {

// What a session needs to be served: a place of its route, and one at a server.
class Session::Places final : public PlaceWait::Taker {
 public:
  Places(Session& session, std::optional<ServerConnect>& connect)
      : session_(session), connect_(connect) {}
  [[nodiscard]] Duration longest_wait() const override {
    return to_duration(session_.route_->config.queue_timeout);
  }

  [[nodiscard]] bool take() override {
    renew_route();
    const bool had_place = session_.ticket_ && session_.ticket_->places;
    if (!had_place && !Ticket::take_place(session_.ticket_, *session_.route_)) {
      lacking_ = EndReason::over_route_connections;
      return false;
    }
    if (!session_.route_->config.has_servers()) return true;
    if (session_.make_if_missing(connect_).reserve()) return true;
    lacking_ = EndReason::over_server_connections;
    if (!had_place && session_.ticket_) session_.ticket_->give_back_place();
    return false;
  }
  /// Which limit the last try has met.
  [[nodiscard]] EndReason lacking() const { return lacking_; }

 private:
  // The limits of a reload hold for those that wait, and so do its servers.
  void renew_route() {
    WorkerRoutes& routes = session_.worker_->routes();
    const std::size_t number = session_.route_->number;
    if (!routes.has(number)) return;
    const RouteSnapshot& now = routes.at(number);
    if (now == session_.route_ || now->config.to.empty()) return;
    connect_.reset();
    session_.worker_->change_route(session_.route_, now);
  }

  Session& session_;
  std::optional<ServerConnect>& connect_;
  EndReason lacking_ = EndReason::none;
};

// Waits in the queue for a place. Returns whether the session continues; `connect` then has its
// server, if the route has servers.
Task<bool> Session::await_place(int client, std::optional<ServerConnect>& connect, Queueing how) {
  Places places(*this, connect);
  PlaceWait wait(worker_->reactor(), route_->queue, client, places);
  running_ = &wait;
  const TimePoint began = worker_->reactor().now();
  const std::uint64_t most = route_->config.queue;
  const Duration waited = ticket_ ? ticket_->queued : Duration::zero();
  EndReason end = EndReason::none;
  if (how == Queueing::again) {
    end = co_await wait.run_again(waited);
  } else {
    end = co_await wait.run(most);
  }
  running_ = {};
  // A reload has taken the queue away.
  if (end == EndReason::queue_full && most == 0) end = places.lacking();
  const Duration time = worker_->reactor().now() - began;
  if (time > Duration::zero()) Ticket::in(ticket_).queued += time;
  if (!has_ended()) end_ = end;
  co_return !has_ended();
}

}  // namespace sluice
