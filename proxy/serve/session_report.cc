// What is said of a session: in lists, in captures, and in the log.

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "proxy/log/ending.h"
#include "proxy/log/log.h"
#include "proxy/serve/file_source.h"
#include "proxy/serve/session.h"
#include "proxy/serve/worker.h"

namespace sluice {

std::string Session::client_text() const {
  return has_address() || client_kind_ == Leg::Kind::tcp ? client_.to_string() : "unix:";
}

std::string Session::upstream_text() const {
  if (route_->config.to.empty()) return "-";
  if (upstream_.is_connected()) return upstream_.address().text;
  return upstream_.server ? upstream_.server->name : to_string(route_->config.target());
}

Session::Totals Session::totals_of(const Relay& relay) const {
  const Pump& up = relay.to_upstream();
  const bool echoes = std::holds_alternative<EchoEndpoint>(route_->config.target());
  const Pump& down = echoes ? up : relay.to_client();
  return {up.forwarded_bytes(), down.forwarded_bytes(), up.spliced_bytes(), down.spliced_bytes()};
}

Session::Totals Session::totals() const {
  if (const auto* relay = std::get_if<Relay*>(&running_)) return totals_of(**relay);
  if (const auto* file = std::get_if<FileSource*>(&running_)) {
    return {.to_client = (*file)->sent_bytes(), .spliced_to_client = (*file)->spliced_bytes()};
  }
  return {};
}

TimePoint Session::last_activity() const {
  const auto* relay = std::get_if<Relay*>(&running_);
  if (relay == nullptr) return began_;
  return std::max((*relay)->to_upstream().last_activity(), (*relay)->to_client().last_activity());
}

// The smallest rank comes first.
SessionPlace Session::place(SessionOrder order) const {
  const auto ticks = [](TimePoint time) {
    return static_cast<std::uint64_t>(time.time_since_epoch().count());
  };
  switch (order) {
    case SessionOrder::bytes: {
      const Totals now = totals();
      return {~(now.to_upstream + now.to_client), number_};
    }
    case SessionOrder::age:
      return {ticks(began_), number_};
    case SessionOrder::idle:
      return {ticks(last_activity()), number_};
    case SessionOrder::id:
      break;
  }
  return {0, number_};
}

SessionInfo Session::info() const {
  const Totals moved = totals();
  const TimePoint now = worker_->reactor().now();
  SessionInfo info{.id = worker_->session_id(number_),
                   .client = client_text(),
                   .route = route_->config.name,
                   .server = upstream_.server ? upstream_.server->name : "",
                   .to_upstream_bytes = moved.to_upstream,
                   .to_client_bytes = moved.to_client,
                   .age = now - began_,
                   .idle = now - last_activity(),
                   .recorded = recorded_sides_ != 0};
  if (const auto* relay = std::get_if<Relay*>(&running_)) {
    const Pump& up = (*relay)->to_upstream();
    const std::size_t recording = recorded_sides_ & 1;  // the client's side
    info.mirrors = static_cast<std::uint32_t>(up.taps() - std::min(recording, up.taps()));
    // Where nobody has asked for the address, it was not read.
    if (!has_address() && client_kind_ == Leg::Kind::tcp) {
      info.client = peer_name(up.source().fd()).to_string();
    }
  }
  return info;
}

void Session::log_end(const Totals& totals) {
  const Ending& ending = ending_of(end_);
  const Duration lasted = worker_->reactor().now() - began_;
  RouteCounts& counts = worker_->counts(*route_);
  counts.ended[ending_index(end_)].add();
  counts.connections.add(lasted);
  const bool has_waited = ticket_ && ticket_->queued > Duration::zero();
  if (!log::enabled(LogLevel::info) || (end_ == EndReason::left && !has_waited)) return;
  if (is_rejection(end_) && !worker_->logs_rejection(route_, end_)) return;
  const std::string id = worker_->session_id(number_);
  const std::string client = client_text();
  const std::string upstream = upstream_text();
  const std::chrono::duration<double> duration = lasted;
  const ServerUse& used = upstream_.server;
  const std::string_view server = used ? std::string_view(used->name) : "";
  std::array<log::Field, 15> fields{{{"id", id},
                                     {"route", route_->config.name},
                                     {"client", client},
                                     {"upstream", upstream},
                                     {"to_upstream", totals.to_upstream},
                                     {"to_client", totals.to_client},
                                     {"spliced_to_upstream", totals.spliced_to_upstream},
                                     {"spliced_to_client", totals.spliced_to_client},
                                     {"duration", duration.count()},
                                     {"reason", ending.name}}};
  std::size_t count = 10;
  if (!ending.limit.empty()) fields.at(count++) = {"limit", ending.limit};
  if (route_->has_several_servers()) {
    fields.at(count++) = {"server", server};
    fields.at(count++) = {"attempts", std::uint64_t{upstream_.attempts}};
  }
  if (route_->config.queue > 0) {
    const std::chrono::duration<double> queued = ticket_ ? ticket_->queued : Duration::zero();
    fields.at(count++) = {"queued", queued.count()};
  }
  if (!server_name().empty()) fields.at(count++) = {"sni", server_name()};
  log::write(LogLevel::info, "connection", log::Fields(fields).first(count));
}

}  // namespace sluice
