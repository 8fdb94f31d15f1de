#include "proxy/control.h"

#include <boost/asio/post.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
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
// The same after a second signal, which is to end the process at once.
constexpr Duration kSecondSignalGrace = std::chrono::milliseconds(200);

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

const HostPort* name_of(const Route& route) {
  const auto* address = std::get_if<HostPort>(&route.config.to);
  return address != nullptr && numeric_endpoints(*address).empty() ? address : nullptr;
}

}  // namespace

Control::Control(const Config& config, Actions actions)
    : config_(config),
      actions_(std::move(actions)),
      work_(context_.get_executor()),
      signals_(context_, SIGTERM, SIGINT, SIGHUP),
      drain_deadline_(context_),
      resolver_(context_) {
  signals_.add(SIGUSR1);
}

Result<std::vector<Route>> Control::resolve_routes() {
  std::vector<Route> routes;
  for (std::size_t index = 0; index < config_.routes.size(); ++index) {
    Route route = make_route(index, config_.routes[index]);
    if (const auto* address = std::get_if<HostPort>(&route.config.to)) {
      route.upstreams = numeric_endpoints(*address);
      if (route.upstreams.empty()) {
        Result<std::vector<SocketAddress>> found = resolve(*address, false);
        if (found.has_error()) {
          return Error{0, "route \"" + route.config.name + "\": " + found.error().to_string()};
        }
        route.upstreams = endpoints_of(*found);
      }
    }
    routes_.push_back({route, {}, false});
    routes.push_back(std::move(route));
  }
  return routes;
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
  if (draining_) return end_drain(kSecondSignalGrace, "second signal");
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
  drain_deadline_.async_wait([](const boost::system::error_code& error) {
    if (!error) std::_Exit(EXIT_SUCCESS);
  });
}

void Control::upstream_failed(std::size_t route) {
  boost::asio::post(context_, [this, route] { resolve_again(route); });
}

void Control::resolve_again(std::size_t route) {
  Resolution& resolution = routes_[route];
  const HostPort* name = name_of(resolution.route);
  if (name == nullptr || resolution.under_way || Clock::now() < resolution.not_before) return;
  resolution.under_way = true;
  resolver_.async_resolve(
      name->host, std::to_string(name->port),
      [this, route](const boost::system::error_code& error, const auto& results) {
        routes_[route].under_way = false;
        routes_[route].not_before = Clock::now() + kResolveInterval;
        if (!error) resolved(route, results);
      });
}

void Control::resolved(std::size_t route,
                       const boost::asio::ip::tcp::resolver::results_type& results) {
  std::vector<Endpoint> found = endpoints_of(addresses_of(results));
  if (found.empty() || found == routes_[route].route.upstreams) return;
  routes_[route].route.upstreams = std::move(found);
  log::info("resolved", {{"route", routes_[route].route.config.name},
                         {"upstream", routes_[route].route.upstreams.front().text}});
  actions_.update_route(routes_[route].route);
}

}  // namespace sluice
