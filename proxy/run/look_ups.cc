#include "proxy/run/look_ups.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <span>
#include <utility>

#include "proxy/log/log.h"
#include "proxy/serve/file_thread.h"
#include "proxy/upstream/resolve.h"

namespace sluice {
namespace {

// The shortest pause between two look-ups of the same name for failed connects, and the longest
// before that of a name of many servers that has none.
constexpr Duration kResolvePause = std::chrono::seconds(1);
// Each look-up has a thread.
constexpr std::size_t kMostLookUps = 64;
// The C library waits for an answer over TCP for ever, so a look-up that takes longer than this is
// repeated. Its thread remains until the name server's connection ends.
constexpr Duration kLongestLookUp = std::chrono::minutes(1);
constexpr std::size_t kMostThreadsOfName = 4;

// The name as messages show it.
std::string host_of(const TargetAddress& name) {
  if (const auto* host_port = std::get_if<HostPort>(&name)) return host_port->host;
  if (const auto* dns = std::get_if<DnsName>(&name)) return dns->host;
  return std::get<SrvName>(name).name;
}

// Why addresses are unknown; empty if none are. Of several reasons always the same one, whatever
// the order of the records.
std::string why_unusable(const Result<std::vector<NameRecord>>& records) {
  if (!records) return records.error().to_string();
  std::string why;
  for (const NameRecord& each : *records) {
    if (!each.unusable.empty() && (why.empty() || each.unusable < why)) why = each.unusable;
  }
  return why;
}

std::vector<std::size_t> reached_at(const ListenSet& listeners, const std::string& address) {
  const Result<TargetAddress> target = parse_target_address(address);
  return target ? listeners.reached_by(*target) : std::vector<std::size_t>();
}

}  // namespace

LookUps::LookUps(std::shared_ptr<const Config> config, std::size_t workers,
                 std::shared_ptr<boost::asio::io_context> context,
                 std::function<void(const Route&)> update_route)
    : config_(std::move(config)),
      workers_(workers),
      listens_(listeners_of(*config_)),
      context_(std::move(context)),
      update_route_(std::move(update_route)),
      left_out_(config_->routes.size()) {}

Result<std::vector<Route>> LookUps::resolve_routes() {
  while (next_number_ < config_->routes.size()) add_route(next_number_++);
  for (LookUp& each : names_) {
    if (each.is_mirrors() || each.is_of_many()) look_up(each);
  }
  for (LookUp& each : names_) {
    if (each.is_mirrors() || each.is_of_many()) continue;
    answered(each, look_up_name(each.name));
    if (!each.unusable.empty()) return unresolved_error(each);
  }
  await_answers();
  return routes_;
}

Error LookUps::unresolved_error(const LookUp& name) const {
  return Error{0, "route \"" + config_->routes[name.route].name + "\": " + name.unusable};
}

void LookUps::start_file_threads() {
  for (Route& route : routes_) {
    const bool sends_file = std::holds_alternative<FileEndpoint>(route.config.target());
    if (sends_file && route.files == nullptr) route.files = std::make_shared<FileThread>();
  }
}

void LookUps::start() {
  running_ = true;
  for (std::size_t index = 0; index < routes_.size(); ++index) report_left_out(index);
  for (LookUp& each : names_) {
    if (each.is_of_many() && !each.timer) look_up_at_interval(each);
  }
}

void LookUps::add_route(std::size_t number) {
  const std::size_t index = routes_.size();
  const RouteConfig& config = config_->routes[index];
  Route& route = routes_.emplace_back(make_route(number, config, workers_));
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
void LookUps::note_name(const TargetAddress& address, std::size_t route, std::size_t server,
                        const std::string& mirror) {
  const bool is_name = std::holds_alternative<HostPort>(address) || names_servers(address);
  if (!is_name || !fixed_endpoints(address).empty()) return;
  const auto is_it = [&](const LookUp& each) { return each.mirror == mirror; };
  if (!mirror.empty() && std::ranges::any_of(names_, is_it)) return;
  names_.push_back({address, route, server, mirror});
}

void LookUps::await_answers() {
  const TimePoint deadline = Clock::now() + kLookUpPatience;
  while (under_way_ > 0) {
    // Results that have arrived by the deadline still count.
    if (context_->run_one_until(deadline) == 0 && context_->poll_one() == 0) break;
  }
  give_up_waiting();
}

void LookUps::give_up_waiting() {
  for (LookUp& each : names_) {
    if (each.state == LookUp::State::idle || !each.unusable.empty()) continue;
    if (!each.is_of_many() || each.set.empty()) {
      each.unusable = "resolve " + host_of(each.name) + ": no answer yet";
    }
  }
}

std::vector<LookUps::Unresolved> LookUps::unresolved() const {
  std::vector<Unresolved> all;
  for (const LookUp& each : names_) {
    if (each.unusable.empty()) continue;
    all.push_back({config_->routes[each.route].name, each.is_mirrors() ? "mirror" : "name",
                   each.text(), each.unusable, each.known});
  }
  return all;
}

void LookUps::upstream_failed(std::size_t route, std::size_t server) {
  for (LookUp& each : names_) {
    const bool is_it = routes_[each.route].number == route && each.server == server;
    if (is_it && !each.is_mirrors()) look_up_again(each);
  }
}

void LookUps::mirror_failed(const std::string& address) {
  for (LookUp& each : names_) {
    if (each.mirror == address) look_up_again(each);
  }
}

void LookUps::look_up_again(LookUp& name) {
  if (Clock::now() >= name.not_before) look_up(name);
}

// At once, or as soon as fewer others are under way.
void LookUps::look_up(LookUp& name) {
  if (name.state != LookUp::State::idle) return;
  name.state = LookUp::State::waiting;
  waiting_.push_back(&name);
  begin_waiting();
}

void LookUps::begin_waiting() {
  while (!waiting_.empty() && under_way_ < kMostLookUps) {
    LookUp& name = *waiting_.front();
    waiting_.pop_front();
    name.state = LookUp::State::under_way;
    ++under_way_;
    ++name.threads;
    const std::uint64_t turn = ++name.turn;
    repeat_if_it_hangs(name);
    look_up_apart(name.name, name.set.families(), context_,
                  if_alive([this, &name, turn](const Found& found) {
                    --name.threads;
                    const bool hung = name.turn != turn || name.state != LookUp::State::under_way;
                    if (!hung) return ended(name, found);
                    if (found) answered(name, found);
                  }));
  }
}

void LookUps::ended(LookUp& name, const Found& found) {
  name.state = LookUp::State::idle;
  --under_way_;
  name.not_before = Clock::now() + kResolvePause;
  answered(name, found);
  name.timer->cancel();
  if (name.is_of_many()) look_up_at_interval(name);
  begin_waiting();
  check_resolved();
}

void LookUps::repeat_if_it_hangs(LookUp& name) {
  if (!name.timer) name.timer.emplace(*context_);
  name.timer->expires_after(kLongestLookUp);
  const auto expired = [this, &name, turn = name.turn](const boost::system::error_code& error) {
    if (error || name.turn != turn || name.state != LookUp::State::under_way) return;
    if (name.threads == kMostThreadsOfName) return repeat_if_it_hangs(name);
    ended(name, Error{0, "resolve " + host_of(name.name) + ": no answer for 1min"});
  };
  name.timer->async_wait(if_alive(expired));
}

void LookUps::look_up_at_interval(LookUp& name) {
  Duration pause = to_duration(config_->routes[name.route].resolve_interval);
  if (name.set.empty()) pause = std::min(pause, kResolvePause);
  // An answer decides whether a missing server goes.
  const TimePoint now = Clock::now();
  const std::optional<TimePoint> goes = name.set.next_to_go();
  if (goes && *goes > now) pause = std::min(pause, *goes - now);
  if (!name.timer) name.timer.emplace(*context_);
  name.timer->expires_after(pause);
  name.timer->async_wait(if_alive([this, &name](const boost::system::error_code& error) {
    if (!error) look_up(name);
  }));
}

// Takes over the result of a look-up. A failed one changes no addresses.
void LookUps::answered(LookUp& name, const Found& found) {
  const Found records = usable(name, found);
  const std::string before = std::exchange(name.unusable, why_unusable(records));
  if (records && name.is_of_many()) {
    name.set.take(*records, Clock::now());
    replace_servers(name);
  } else if (records) {
    replace(name, records->front().addresses);
  }
  if (!running_ || name.unusable.empty() || name.unusable == before) return;
  if (!name.is_mirrors() && !name.is_of_many()) return;
  log::warn(name.is_mirrors() ? "mirror_unresolved" : "name_unresolved",
            {{"route", config_->routes[name.route].name},
             {name.is_mirrors() ? "mirror" : "name", name.text()},
             {"reason", name.unusable}});
}

// The records without the addresses that lead back here. An error if nothing is left.
LookUps::Found LookUps::usable(const LookUp& name, Found found) const {
  if (!found) return found;
  std::string own;
  std::erase_if(*found, [&](NameRecord& record) {
    const bool had_addresses = !record.addresses.empty();
    std::erase_if(record.addresses, [&](const SocketAddress& address) {
      if (name.set.contains(address) || !leads_back(name, address)) return false;
      own = address.to_string();
      return true;
    });
    return had_addresses && record.addresses.empty();
  });
  if (std::ranges::any_of(*found, [](const auto& each) { return !each.addresses.empty(); })) {
    return found;
  }
  const char* const why = own.empty()         ? "no address"
                          : name.is_mirrors() ? " is one of sluice's own listeners"
                                              : " leads back to a listener of the route";
  return Error{0, "resolve " + host_of(name.name) + ": " + own + why};
}

// Whether `address` leads back to a listener here, so that each connection would make another one.
// A mirror must not be on any listener. An upstream must not be on a listener of its own route, nor
// on one whose route leads back to it.
bool LookUps::leads_back(const LookUp& name, const SocketAddress& address) const {
  const std::vector<std::size_t> to = routes_at(address.to_string());
  if (name.is_mirrors() || to.empty()) return !to.empty();
  std::vector<std::vector<std::size_t>> reached(routes_.size());
  for (std::size_t index = 0; index < routes_.size(); ++index) {
    for (const RouteMatch& match : config_->routes[index].matches) {
      reached[index].push_back(match.to_route);
    }
    if (index == name.route) continue;
    for (const ServerRef& server : routes_[index].servers->servers) {
      for (const Endpoint& endpoint : server->endpoints) {
        const std::vector<std::size_t> further = routes_at(endpoint.text);
        reached[index].insert(reached[index].end(), further.begin(), further.end());
      }
    }
  }
  // The other routes were checked before, so a circle can only go through this route.
  reached[name.route].insert(reached[name.route].end(), to.begin(), to.end());
  return find_circle(std::move(reached)).has_value();
}

std::vector<std::size_t> LookUps::routes_at(const std::string& address) const {
  return reached_at(listens_, address);
}

// Of a mirror, or of a single server.
void LookUps::replace(const LookUp& name, const std::vector<SocketAddress>& addresses) {
  std::vector<Endpoint> endpoints;
  for (const SocketAddress& address : addresses) {
    if (endpoints.size() < kMaxUpstreamAddresses) endpoints.push_back(make_endpoint(address));
  }
  std::vector<const Route*> changed;
  if (!name.is_mirrors()) {
    Route& route = routes_[name.route];
    const auto known = std::ranges::find(route.servers->servers, name.server,
                                         [](const ServerRef& server) { return server->index; });
    if ((*known)->endpoints != endpoints) {
      route.servers = with_endpoints(*route.servers, name.server, endpoints);
      if (has_names_of_many(route)) rebuild(name.route);
      changed.push_back(&route);
    }
  }
  for (Route& route : routes_) {
    for (MirrorTarget& mirror : route.mirrors) {
      if (name.mirror != mirror.address || mirror.endpoints == endpoints) continue;
      mirror.endpoints = endpoints;
      changed.push_back(&route);
    }
  }
  if (!running_ || changed.empty()) return;
  log::info("resolved", {{"route", changed.front()->config.name},
                         {name.is_mirrors() ? "mirror" : "upstream", endpoints.front().text}});
  for (const Route* route : changed) update_route_(*route);
}

// Of a name of many servers, after an answer.
void LookUps::replace_servers(LookUp& name) {
  const std::vector<NamedServer> before = std::exchange(name.servers, name.set.servers());
  if (name.servers == before) return;
  const Route& route = routes_[name.route];
  rebuild(name.route);
  if (!running_) return;
  log::info("resolved", {{"route", route.config.name},
                         {"name", name.text()},
                         {"servers", std::uint64_t{name.servers.size()}}});
  update_route_(route);
}

bool LookUps::has_names_of_many(const Route& route) const {
  return std::ranges::any_of(route.config.to, names_servers, &ServerConfig::address);
}

void LookUps::rebuild(std::size_t index) {
  Route& route = routes_[index];
  std::vector<std::span<const NamedServer>> found(route.config.to.size());
  for (const LookUp& each : names_) {
    if (each.route == index && each.is_of_many()) found[each.server] = each.servers;
  }
  BoundedSet bounded = with_named_servers(*route.servers, route.config, found);
  route.servers = std::move(bounded.set);
  const std::size_t left_out = bounded.unbounded - route.servers->servers.size();
  if (std::exchange(left_out_[index], left_out) != left_out && running_) {
    report_left_out(index);
  }
}

void LookUps::report_left_out(std::size_t index) const {
  const Route& route = routes_[index];
  const std::size_t left_out = left_out_[index];
  if (left_out == 0) return;
  log::warn("servers_left_out", {{"route", route.config.name},
                                 {"servers", std::uint64_t{route.servers->servers.size()}},
                                 {"left_out", std::uint64_t{left_out}}});
}

void report_unresolved(const LookUps& look_ups) {
  for (const LookUps::Unresolved& each : look_ups.unresolved()) {
    if (each.is_known) continue;
    log::warn(std::string(each.kind) + "_unresolved",
              {{"route", each.route}, {each.kind, each.address}, {"reason", each.reason}});
  }
}

bool leads_to(const ListenSet& listeners, const Server& server) {
  return std::ranges::any_of(server.endpoints, [&](const Endpoint& endpoint) {
    return !reached_at(listeners, endpoint.text).empty();
  });
}

}  // namespace sluice
