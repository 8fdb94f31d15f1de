#include "proxy/serve/entrance.h"

#include <sys/socket.h>

#include <utility>

#include "proxy/entry/entry.h"
#include "proxy/log/log.h"
#include "proxy/serve/worker.h"

namespace sluice {

Ticket& Ticket::in(std::unique_ptr<Ticket>& ticket) {
  if (!ticket) ticket = std::make_unique<Ticket>();
  return *ticket;
}

bool Ticket::take_place(std::unique_ptr<Ticket>& ticket, const Route& route) {
  if (route.places == nullptr) return true;
  if (!route.places->take(route.config.route_connections)) return false;
  in(ticket).places = route.places;
  return true;
}

void Ticket::give_back(const SocketAddress& client, TimePoint now) {
  if (sources) std::exchange(sources, nullptr)->end(client, now);
  give_back_place();
}

void Ticket::give_back_place() {
  if (places) std::exchange(places, nullptr)->give_back();
}

bool Entrance::is_needed(const Route& route) {
  return route.config.clients != nullptr || route.sources != nullptr ||
         Entry::is_needed(route.config);
}

// One that has left before its address was asked for has none.
Task<EndReason> Entrance::pass() {
  const RouteConfig& config = client_.route->config;
  if (client_.address.family() == AF_UNSPEC && client_.kind == Leg::Kind::tcp) {
    co_return EndReason::left;
  }
  EndReason end = config.proxy_in == ProxyIn::off ? admit() : EndReason::none;
  if (end == EndReason::none && Entry::is_needed(config)) end = co_await enter();
  co_return end;
}

void Entrance::cancel() {
  if (running_ != nullptr) running_->cancel();
}

// Why the client may not come in, if so.
EndReason Entrance::admit() {
  const Route& route = *client_.route;
  const bool has_address = client_.address.family() != AF_UNSPEC;
  if (route.config.clients != nullptr && !route.config.clients->allows(client_.address)) {
    return EndReason::denied;
  }
  return route.sources != nullptr && has_address ? count_source() : EndReason::none;
}

EndReason Entrance::count_source() {
  using Sources = balance::SourceTable;
  const Route& route = *client_.route;
  Sources& sources = *route.sources;
  const balance::SourceLimits limits{route.config.source_connections, route.config.source_rate};
  switch (sources.begin(client_.address, limits, worker_.reactor().now())) {
    case Sources::Verdict::over_connections:
      return EndReason::over_source_connections;
    case Sources::Verdict::over_rate:
      return EndReason::over_source_rate;
    case Sources::Verdict::counted:
      ticket().sources = route.sources;
      break;
    case Sources::Verdict::uncounted:
      if (!sources.take_overflow()) break;
      log::warn("sources_full",
                {{"route", route.config.name}, {"sources", std::uint64_t{sources.size()}}});
      break;
  }
  return EndReason::none;
}

// Finds out which client it is, and which route it takes.
Task<EndReason> Entrance::enter() {
  const RouteSnapshot listening = client_.route;
  const RouteConfig& config = listening->config;
  const std::shared_ptr<const WorkerRoutes::Table> routes = worker_.routes().table_of(*listening);
  Entry entry(worker_.reactor(), config, client_.fd);
  running_ = &entry;
  EndReason end = EndReason::none;
  Choice choice;
  if (config.proxy_in != ProxyIn::off) {
    end = co_await entry.identify(client_.address, ticket().target);
    if (end == EndReason::none) end = admit();
  }
  if (end == EndReason::none && !config.matches.empty()) {
    end = co_await entry.choose_route(client_.address, choice);
  }
  running_ = nullptr;
  if (end != EndReason::none) co_return end;
  ticket().server_name = std::move(choice.server_name);
  if (choice.match) {
    const auto chosen = routes->find(config.matches[*choice.match].to_route);
    // It was removed while the client waited for a place.
    if (chosen == routes->end()) co_return EndReason::no_route;
    worker_.change_route(client_.route, chosen->second);
  } else if (config.to.empty()) {
    co_return EndReason::no_route;
  }
  co_return EndReason::none;
}

Ticket& Entrance::ticket() { return Ticket::in(client_.ticket); }

}  // namespace sluice
