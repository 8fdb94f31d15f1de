#include "proxy/control.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <csignal>
#include <utility>

#include "proxy/log.h"
#include "proxy/resolve.h"

namespace sluice {
namespace {

// A failing upstream's name is looked up no more often than this.
constexpr Duration kResolveInterval = std::chrono::seconds(1);
// After the drain deadline sessions are reset, which takes a turn or two; a worker that is not done
// after this long is not waited for.
constexpr Duration kLastGrace = std::chrono::seconds(2);
// The same after a second signal, which is to end the process at once; what was recorded of them
// has to be written yet.
constexpr Duration kSecondSignalGrace = std::chrono::milliseconds(200);
constexpr Duration kSecondSignalCaptureGrace = kLastGrace;

std::vector<Endpoint> endpoints_of(const std::vector<SocketAddress>& addresses) {
  std::vector<Endpoint> endpoints;
  for (const SocketAddress& address : addresses) {
    endpoints.push_back(make_endpoint(address));
    if (endpoints.size() == kMaxUpstreamAddresses) break;
  }
  return endpoints;
}

// What needs no look-up: numbers, and loopback for an empty host.
std::vector<Endpoint> numeric_endpoints(const HostPort& address) {
  std::vector<Endpoint> endpoints;
  if (!address.host.empty()) {
    Result<SocketAddress> numeric = numeric_address(address);
    if (numeric.has_value()) endpoints.push_back(make_endpoint(*numeric));
    return endpoints;
  }
  for (const char* host : {"127.0.0.1", "::1"}) {
    endpoints.push_back(make_endpoint(*numeric_address({host, address.port})));
  }
  return endpoints;
}

// Null where there is nothing to look up.
const HostPort* name_of(const TargetAddress& address) {
  const auto* name = std::get_if<HostPort>(&address);
  return name != nullptr && numeric_endpoints(*name).empty() ? name : nullptr;
}

// Blocks while a name is looked up; none for what is not connected to.
Result<std::vector<Endpoint>> find_endpoints(const TargetAddress& address) {
  if (const auto* path = std::get_if<UnixEndpoint>(&address)) return {{make_endpoint(*path)}};
  const auto* name = std::get_if<HostPort>(&address);
  if (name == nullptr) return std::vector<Endpoint>();
  if (std::vector<Endpoint> numeric = numeric_endpoints(*name); !numeric.empty()) return numeric;
  Result<std::vector<SocketAddress>> found = resolve(*name, false);
  if (found.has_error()) return found.error();
  return endpoints_of(*found);
}

}  // namespace

Control::Control(const Config& config, Actions actions)
    : config_(config),
      actions_(std::move(actions)),
      work_(context_.get_executor()),
      signals_(context_),
      drain_deadline_(context_),
      resolver_(context_) {}

void Control::catch_signals() {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) signals_.add(signal);
}

bool Control::looking_up() const {
  return std::ranges::any_of(look_ups_, [](const LookUp& each) { return each.under_way; });
}

Result<std::vector<Route>> Control::resolve_routes() {
  for (std::size_t index = 0; index < config_.routes.size(); ++index) {
    const RouteConfig& config = config_.routes[index];
    routes_.push_back(make_route(index, config));
    if (Result<> done = look_up_first({config.to, index}); !done) {
      return Error{0, "route \"" + config.name + "\": " + done.error().to_string()};
    }
    look_up_mirrors(index);
  }
  return routes_;
}

// Production starts without them: what cannot be found now is looked up again when a connection
// asks for it.
void Control::look_up_mirrors(std::size_t route) {
  const RouteConfig& config = config_.routes[route];
  for (std::size_t mirror = 0; mirror < config.mirrors.size(); ++mirror) {
    const std::string address = to_string(config.mirrors[mirror]);
    routes_[route].mirrors.push_back({address, {}});
    if (Result<> done = look_up_first({config.mirrors[mirror], route, mirror}); !done) {
      unresolved_.push_back({config.name, address, done.error().to_string()});
    }
  }
}

Result<> Control::look_up_first(LookUp look_up) {
  Result<std::vector<Endpoint>> found = find_endpoints(look_up.address);
  look_ups_.push_back(std::move(look_up));
  if (found.has_error()) return found.error();
  endpoints(look_ups_.back()) = std::move(*found);
  return {};
}

std::vector<Endpoint>& Control::endpoints(const LookUp& look_up) {
  Route& route = routes_[look_up.route];
  return look_up.mirror == kNoMirror ? route.upstreams : route.mirrors[look_up.mirror].endpoints;
}

void Control::run() {
  await_signal();
  context_.run();
}

void Control::finish() {
  boost::asio::post(context_, [this] { context_.stop(); });
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
  drain_deadline_.expires_after(std::chrono::duration_cast<Duration>(config_.drain_timeout));
  drain_deadline_.async_wait([this](const boost::system::error_code& error) {
    if (!error) end_drain(kLastGrace, "drain timeout");
  });
}

// Ends what is left with resets, since a stream that was cut must not look whole; then, if
// something does not end all the same, the process.
void Control::end_drain(Duration grace, std::string_view why) {
  ending_ = why;
  actions_.end_drain();
  drain_deadline_.expires_after(grace);
  drain_deadline_.async_wait([this](const boost::system::error_code& error) {
    if (!error) actions_.exit_now();
  });
}

void Control::upstream_failed(std::size_t route) {
  boost::asio::post(context_, [this, route] {
    for (LookUp& each : look_ups_) {
      if (each.route == route && each.mirror == kNoMirror) resolve_again(each);
    }
  });
}

void Control::mirror_failed(const std::string& address) {
  boost::asio::post(context_, [this, address] {
    for (LookUp& each : look_ups_) {
      if (each.mirror != kNoMirror && to_string(each.address) == address) resolve_again(each);
    }
  });
}

void Control::resolve_again(LookUp& look_up) {
  const HostPort* name = name_of(look_up.address);
  if (name == nullptr || look_up.under_way || Clock::now() < look_up.not_before) return;
  look_up.under_way = true;
  resolver_.async_resolve(
      name->host, std::to_string(name->port),
      [this, &look_up](const boost::system::error_code& error, const auto& results) {
        look_up.under_way = false;
        look_up.not_before = Clock::now() + kResolveInterval;
        if (!error) resolved(look_up, results);
      });
}

void Control::resolved(const LookUp& look_up,
                       const boost::asio::ip::tcp::resolver::results_type& results) {
  std::vector<Endpoint> found = endpoints_of(addresses_of(results));
  std::vector<Endpoint>& known = endpoints(look_up);
  if (found.empty() || found == known) return;
  known = std::move(found);
  const Route& route = routes_[look_up.route];
  log::info("resolved",
            {{"route", route.config.name},
             {look_up.mirror == kNoMirror ? "upstream" : "mirror", known.front().text}});
  actions_.update_route(route);
}

}  // namespace sluice
