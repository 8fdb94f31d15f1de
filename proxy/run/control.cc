#include "proxy/run/control.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <csignal>
#include <utility>

#include "proxy/log/log.h"
#include "proxy/upstream/resolve.h"

namespace sluice {
namespace {

// The shortest pause between two look-ups of the same name.
constexpr Duration kResolveInterval = std::chrono::seconds(1);
// Each look-up has a thread. What finds no place is asked for again when its server fails again.
constexpr std::ptrdiff_t kMostLookUps = 64;
// How long a start waits for the names of mirrors, so that the first connections are mirrored too.
constexpr Duration kMirrorsPatience = std::chrono::seconds(1);
// How long the process waits for workers after the drain deadline has reset their sessions, which
// takes a turn or two.
constexpr Duration kLastGrace = std::chrono::seconds(2);
// The same after a second signal, which ends the process at once. With captures it is longer,
// because recorded bytes must still be written.
constexpr Duration kSecondSignalGrace = std::chrono::milliseconds(200);
constexpr Duration kSecondSignalCaptureGrace = kLastGrace;
// If a deadline is noticed later than this, the process was stopped meanwhile, and the workers get
// this much extra time.
constexpr Duration kLateDeadline = std::chrono::milliseconds(200);

}  // namespace

Control::Control(const Config& config, Actions actions)
    : config_(config),
      actions_(std::move(actions)),
      listens_(listeners_of(config)),
      context_(std::make_shared<boost::asio::io_context>(1)),
      work_(context_->get_executor()),
      signals_(*context_),
      drain_deadline_(*context_) {}

void Control::catch_signals() {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) signals_.add(signal);
}

Result<std::vector<Route>> Control::resolve_routes() {
  for (const RouteConfig& config : config_.routes) add_route(config);
  for (LookUp& each : look_ups_) {
    if (each.is_mirrors()) look_up_apart(each);
  }
  for (LookUp& each : look_ups_) {
    if (each.is_mirrors()) continue;
    resolved(each, resolve(each.name, false));
    if (!each.unusable.empty()) {
      return Error{0, "route \"" + config_.routes[each.route].name + "\": " + each.unusable};
    }
  }
  await_mirrors();
  return routes_;
}

void Control::add_route(const RouteConfig& config) {
  const std::size_t index = routes_.size();
  Route& route = routes_.emplace_back(make_route(index, config));
  for (std::size_t server = 0; server < config.to.size(); ++server) {
    note_name(config.to[server].address, index, server, "");
  }
  for (const TargetAddress& mirror : config.mirrors) {
    const std::string address = to_string(mirror);
    route.mirrors.push_back({address, fixed_endpoints(mirror)});
    note_name(mirror, index, 0, address);
  }
}

// Adds the look-up of a name. A mirror that several routes use is looked up once.
void Control::note_name(const TargetAddress& address, std::size_t route, std::size_t server,
                        const std::string& mirror) {
  const auto* name = std::get_if<HostPort>(&address);
  if (name == nullptr || !fixed_endpoints(address).empty()) return;
  const auto is_it = [&](const LookUp& each) { return each.mirror == mirror; };
  if (!mirror.empty() && std::ranges::any_of(look_ups_, is_it)) return;
  look_ups_.push_back({*name, route, server, mirror});
}

void Control::await_mirrors() {
  const TimePoint deadline = Clock::now() + kMirrorsPatience;
  const auto under_way = [](const LookUp& each) { return each.under_way; };
  while (std::ranges::any_of(look_ups_, under_way)) {
    // Results that have arrived by the deadline still count.
    if (context_->run_one_until(deadline) == 0 && context_->poll_one() == 0) break;
  }
  for (LookUp& each : look_ups_) {
    if (each.under_way) each.unusable = "resolve " + each.name.host + ": no answer yet";
  }
}

std::vector<Control::Unresolved> Control::unresolved() const {
  std::vector<Unresolved> all;
  for (const LookUp& each : look_ups_) {
    if (!each.is_mirrors() || each.unusable.empty()) continue;
    all.push_back({config_.routes[each.route].name, each.mirror, each.unusable});
  }
  return all;
}

void Control::run() {
  running_ = true;
  await_signal();
  context_->run();
}

void Control::finish() {
  boost::asio::post(*context_, [this] { context_->stop(); });
}

void Control::await_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    handle(signal);
    await_signal();
  });
}

void Control::handle(int signal) {
  if (signal == SIGHUP) return actions_.reopen_log();
  if (signal == SIGUSR1) return actions_.print_stats();
  if (draining_) {
    return end_drain(records(config_) ? kSecondSignalCaptureGrace : kSecondSignalGrace,
                     "second signal");
  }
  draining_ = true;
  actions_.begin_drain();
  set_drain_deadline(std::chrono::duration_cast<Duration>(config_.drain_timeout),
                     [this] { end_drain(kLastGrace, "drain timeout"); });
}

// Calls `then` after `time`. If the process was stopped at the deadline, the workers must first
// handle the input of that time: the deadline then moves by kLateDeadline.
void Control::set_drain_deadline(Duration time, const std::function<void()>& then) {
  drain_deadline_.expires_after(time);
  drain_deadline_.async_wait([this, then](const boost::system::error_code& error) {
    if (error) return;
    const bool stood_still = Clock::now() - drain_deadline_.expiry() >= kLateDeadline;
    stood_still ? set_drain_deadline(kLateDeadline, then) : then();
  });
}

// Resets all remaining sessions, because a stream that was cut must not look whole. If a worker
// still does not finish within `grace`, ends the process.
void Control::end_drain(Duration grace, std::string_view why) {
  ending_ = why;
  actions_.end_drain();
  set_drain_deadline(grace, [this] { actions_.exit_now(); });
}

void Control::upstream_failed(std::size_t route, std::size_t server) {
  boost::asio::post(*context_, [this, route, server] {
    for (LookUp& each : look_ups_) {
      if (each.route == route && each.server == server && !each.is_mirrors()) look_up_again(each);
    }
  });
}

void Control::mirror_failed(const std::string& address) {
  boost::asio::post(*context_, [this, address] {
    for (LookUp& each : look_ups_) {
      if (each.mirror == address) look_up_again(each);
    }
  });
}

bool Control::listens_here(const Server& server) const {
  return std::ranges::any_of(server.endpoints, [this](const Endpoint& endpoint) {
    return !routes_at(endpoint.text).empty();
  });
}

void Control::server_fell() {
  boost::asio::post(*context_, [this] { actions_.end_lost_sessions(); });
}

void Control::look_up_again(LookUp& look_up) {
  if (look_up.under_way || Clock::now() < look_up.not_before) return;
  const auto under_way = std::ranges::count(look_ups_, true, &LookUp::under_way);
  if (under_way < kMostLookUps) look_up_apart(look_up);
}

void Control::look_up_apart(LookUp& look_up) {
  look_up.under_way = true;
  resolve_apart(look_up.name, context_, [this, &look_up](const Found& found) {
    look_up.under_way = false;
    look_up.not_before = Clock::now() + kResolveInterval;
    resolved(look_up, found);
  });
}

// Takes over the result of a look-up. A failed one changes no addresses.
void Control::resolved(LookUp& look_up, const Found& found) {
  const Result<std::vector<Endpoint>> endpoints = usable(look_up, found);
  const std::string before =
      std::exchange(look_up.unusable, endpoints ? "" : endpoints.error().to_string());
  if (endpoints) return replace(look_up, *endpoints);
  if (!running_ || !look_up.is_mirrors() || look_up.unusable == before) return;
  log::warn("mirror_unresolved", {{"route", config_.routes[look_up.route].name},
                                  {"mirror", look_up.mirror},
                                  {"reason", look_up.unusable}});
}

Result<std::vector<Endpoint>> Control::usable(const LookUp& look_up, const Found& found) const {
  if (!found) return found.error();
  std::vector<Endpoint> endpoints;
  std::string own;
  for (const SocketAddress& address : *found) {
    if (endpoints.size() == kMaxUpstreamAddresses) break;
    if (leads_back(look_up, address.to_string())) {
      own = address.to_string();
    } else {
      endpoints.push_back(make_endpoint(address));
    }
  }
  if (!endpoints.empty()) return endpoints;
  const char* const why = own.empty()            ? "no address"
                          : look_up.is_mirrors() ? " is one of sluice's own listeners"
                                                 : " leads back to a listener of the route";
  return Error{0, "resolve " + look_up.name.host + ": " + own + why};
}

// Whether `address` leads back to a listener here, so that each connection would make another one.
// A mirror must not be on any listener. An upstream must not be on a listener of its own route, nor
// on one whose route leads back to it.
bool Control::leads_back(const LookUp& look_up, const std::string& address) const {
  std::vector<std::size_t> to = routes_at(address);
  if (look_up.is_mirrors() || to.empty()) return !to.empty();
  std::vector<std::vector<std::size_t>> reached(routes_.size());
  for (const Route& route : routes_) {
    for (const RouteMatch& match : route.config.matches) {
      reached[route.index].push_back(match.to_route);
    }
    if (route.index == look_up.route) continue;
    for (const ServerRef& server : route.servers->servers) {
      for (const Endpoint& endpoint : server->endpoints) {
        const std::vector<std::size_t> further = routes_at(endpoint.text);
        reached[route.index].insert(reached[route.index].end(), further.begin(), further.end());
      }
    }
  }
  // The other routes were checked before, so a circle can only go through this route.
  reached[look_up.route].insert(reached[look_up.route].end(), to.begin(), to.end());
  return find_circle(std::move(reached)).has_value();
}

std::vector<std::size_t> Control::routes_at(const std::string& address) const {
  const Result<TargetAddress> target = parse_target_address(address);
  return target ? listens_.reached_by(*target) : std::vector<std::size_t>();
}

void Control::replace(const LookUp& look_up, const std::vector<Endpoint>& endpoints) {
  std::vector<const Route*> changed;
  if (!look_up.is_mirrors()) {
    Route& route = routes_[look_up.route];
    if (route.servers->servers[look_up.server]->endpoints != endpoints) {
      route.servers = with_endpoints(*route.servers, look_up.server, endpoints);
      changed.push_back(&route);
    }
  }
  for (Route& route : routes_) {
    for (MirrorTarget& mirror : route.mirrors) {
      if (look_up.mirror != mirror.address || mirror.endpoints == endpoints) continue;
      mirror.endpoints = endpoints;
      changed.push_back(&route);
    }
  }
  if (!running_ || changed.empty()) return;
  log::info("resolved", {{"route", changed.front()->config.name},
                         {look_up.is_mirrors() ? "mirror" : "upstream", endpoints.front().text}});
  for (const Route* route : changed) actions_.update_route(*route);
}

}  // namespace sluice
