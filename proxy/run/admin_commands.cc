#include "proxy/run/admin_commands.h"

#include <string_view>
#include <utility>

#include "proxy/log/log.h"
#include "proxy/run/gather.h"

namespace sluice {
namespace {

std::string_view on_or_off(bool on) { return on ? "on" : "off"; }

// Takes effect with the next pick of each worker.
void give_order(const Route& route, const Server& server, Order order) {
  ServerLoad& load = *server.load;
  const Order before = load.order.exchange(order, std::memory_order_relaxed);
  if (before == order) return;
  if (order == Order::down) load.falls.fetch_add(1, std::memory_order_release);
  if (order == Order::up) route.wake_queue();
  log::print("operator", {{"change", "server"},
                          {"route", route.config.name},
                          {"server", server.name},
                          {"from", name_of(before)},
                          {"to", name_of(order)}});
}

}  // namespace

void DaemonCommands::order(std::shared_ptr<const Route> route, std::vector<ServerRef> servers,
                           Order order, Done done) {
  control_.post([this, route = std::move(route), servers = std::move(servers), order,
                 done = std::move(done)]() mutable {
    for (const ServerRef& server : servers) give_order(*route, *server, order);
    if (order == Order::down && route->config.on_down == OnDown::reset) {
      for (const auto& worker : workers_) worker->end_lost_sessions();
    }
    after_turns(std::move(done));
  });
}

void DaemonCommands::enable_capture(std::shared_ptr<const Route> route, bool enabled, Done done) {
  control_.post([route = std::move(route), enabled, done = std::move(done)] {
    const bool before = route->stats->capture_enabled.exchange(enabled);
    if (before != enabled) {
      log::print("operator", {{"change", "capture"},
                              {"route", route->config.name},
                              {"from", on_or_off(before)},
                              {"to", on_or_off(enabled)}});
    }
    done();
  });
}

void DaemonCommands::set_lame_duck(bool lame_duck, std::function<void(bool)> done) {
  control_.post(
      [this, lame_duck, done = std::move(done)] { done(control_.set_lame_duck(lame_duck)); });
}

void DaemonCommands::reload(bool dry_run, std::function<void(admin::ReloadResult)> done) {
  control_.post([this, dry_run, done = std::move(done)]() mutable {
    // As SIGHUP does: log rotation relies on `systemctl reload`.
    if (!dry_run) takeovers_->reopen_logs();
    if (reloader_ != nullptr) return reloader_->reload(dry_run, std::move(done));
    done(
        {admin::ReloadResult::Outcome::refused, {}, {"started without --config: no file to read"}});
  });
}

void DaemonCommands::take_over(std::function<void(admin::TakeoverResult)> done) {
  control_.post([this, done = std::move(done)]() mutable {
    log::print("operator", {{"change", "takeover"}});
    takeovers_->launch(std::move(done));
  });
}

// Calls `done` once the turn that each worker is in has ended: in it, a server may have been picked
// before an order, and the connect begins in the same turn.
void DaemonCommands::after_turns(Done done) {
  const Done ended = last_of(workers_.size(), std::move(done));
  for (const auto& worker : workers_) worker->after_turn(ended);
}

}  // namespace sluice
