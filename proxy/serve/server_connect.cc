#include "proxy/serve/server_connect.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "proxy/log/log.h"
#include "proxy/serve/worker.h"
#include "proxy/upstream/blame.h"
#include "proxy/upstream/ejection.h"

namespace sluice {
namespace {

// How often a connect that failed is tried again where there are several servers, unless the
// configuration sets it.
constexpr std::uint64_t kRetries = 3;
// The least time for an attempt: a lost SYN is sent again after a second.
constexpr Duration kLeastShare = std::chrono::milliseconds(1'100);
// The longest random pause before all servers are tried a second time, and before any later time.
constexpr Duration kFirstRest = std::chrono::milliseconds(50);
constexpr Duration kLongestRest = std::chrono::seconds(1);
// How soon a pause notices that it is cancelled.
constexpr Duration kRestPart = std::chrono::milliseconds(20);

}  // namespace

// A connect to a server that was picked, and its hedge.
class ServerConnect::Attempt final : public HedgedConnector {
 public:
  Attempt(ServerConnect& owner, Contender first)
      : HedgedConnector(owner.worker_.reactor(), std::move(first), owner.hedge_after()),
        owner_(owner) {}

 private:
  std::optional<Contender> hedge(const ServerRef& first) override {
    return owner_.pick_hedge(first);
  }
  void lost(Contender contender, const Error& error) override {
    owner_.note_lost(std::move(contender), error);
  }
  ServerConnect& owner_;
};

ServerConnect::ServerConnect(Worker& worker, const Route& route, std::uint64_t source,
                             Upstream& upstream)
    : worker_(worker),
      route_(route),
      source_(source),
      upstream_(upstream),
      deadline_(now() + to_duration(route.config.connect_timeout)),
      longest_rest_(kFirstRest) {
  if (retries() > 0 || hedge_after() > Duration::zero()) budget().add(RoutePicks::kRetryShare);
}

Task<Result<OwnedFd>> ServerConnect::run() {
  Error last{0, "connect: no server"};
  while (!cancelled_ && now() < deadline_) {
    // One that failed no longer counts against its limit.
    if (upstream_.server && upstream_.server->most != Server::kNoLimit) {
      upstream_.server = {};
      route_.wake_queue();
    }
    std::optional<Contender> picked = next();
    if (!picked) {
      if (tried_.empty()) {  // the route has none, or all are full
        limited_ = balancer().is_full();
        break;
      }
      co_await rest();
      continue;
    }
    upstream_.server = {};  // one that failed no longer counts
    Attempt attempt(*this, *std::move(picked));
    running_ = &attempt;
    HedgedConnector::Outcome outcome = co_await attempt;
    running_ = nullptr;
    upstream_.server = std::move(outcome.server);
    if (outcome.connected.has_value()) {
      note_connected(*outcome.connected);
      co_return std::move(outcome.connected->fd);
    }
    last = outcome.connected.error();
    if (cancelled_ || is_shortage(last.code)) break;
    ++upstream_.attempts;
    const ServerRef& server = upstream_.server.get();
    note_failed(*server, last.code, outcome.on_trial);
    if (!pay_retry()) break;
    worker_.counts(route_).retries.add();
    worker_.upstream_failed(route_, server.get(), last);
    tried_.push_back(server);
  }
  co_return last;
}

void ServerConnect::cancel() {
  cancelled_ = true;
  if (running_ != nullptr) running_->cancel();
}

bool ServerConnect::reserve() {
  deadline_ = now() + to_duration(route_.config.connect_timeout);
  limited_ = false;
  if (std::optional<Contender> picked = pick()) reserved_.emplace(*std::move(picked));
  return reserved_ || !balancer().is_full();
}

// The reserved server, or another one.
std::optional<ServerConnect::Contender> ServerConnect::next() {
  if (!reserved_) return pick();
  std::optional<Contender> reserved = std::move(reserved_);
  reserved_.reset();
  return reserved;
}

// A server that another worker fills meanwhile is skipped by the next pick.
std::optional<ServerConnect::Contender> ServerConnect::pick() const {
  for (;;) {
    const Balancer::Pick picked =
        balancer().pick(source_, tried_, now(), to_duration(route_.config.connect_timeout));
    if (picked.server == nullptr) return std::nullopt;
    std::optional<Contender> found = contender(picked);
    if (found) return found;
  }
}

std::optional<ServerConnect::Contender> ServerConnect::pick_hedge(const ServerRef& first) const {
  if (!pay()) return std::nullopt;
  std::vector<ServerRef> others_than = tried_;
  others_than.push_back(first);
  const Balancer::Pick picked = balancer().pick_hedge(source_, others_than, now(),
                                                      to_duration(route_.config.connect_timeout));
  if (picked.server != nullptr) {
    std::optional<Contender> found = contender(picked);
    if (found) return found;
  }
  budget().add(RoutePicks::kRetry);
  return std::nullopt;
}

// An attempt gets an equal share of the time that is left, but at least kLeastShare if possible.
// Returns none if the server is full by now.
std::optional<ServerConnect::Contender> ServerConnect::contender(const Balancer::Pick& pick) const {
  ServerUse use(pick.server);
  if (!use) {
    if (pick.on_trial) end_trial(*pick.server->load, now());
    return std::nullopt;
  }
  const std::uint64_t left = 1 + retries() - std::min<std::uint64_t>(upstream_.attempts, retries());
  const Duration share =
      std::max(kLeastShare, (deadline_ - now()) / static_cast<Duration::rep>(left));
  const Server& server = *pick.server;
  return Contender{
      .server = std::move(use),
      .on_trial = pick.on_trial,
      .options = {.endpoints = server.endpoints,
                  .first = server.preferred.load(std::memory_order_relaxed),
                  .deadline = std::min(deadline_, now() + share),
                  .source = &route_.config.source,
                  .choose_congestion = route_.config.congestion == Congestion::automatic,
                  .sends_directly = route_.config.proxy_out != ProxyOut::off}};
}

void ServerConnect::note_connected(const Connected& connected) {
  const Server& server = *upstream_.server.get();
  ++upstream_.attempts;
  upstream_.endpoint = static_cast<std::uint16_t>(connected.which);
  if (server.preferred.load(std::memory_order_relaxed) != upstream_.endpoint) {
    server.preferred.store(upstream_.endpoint, std::memory_order_relaxed);
  }
  const TimePoint began = deadline_ - to_duration(route_.config.connect_timeout);
  worker_.counts(route_).connects.add(now() - began);
  if (!note_success(*server.load)) return;
  worker_.server_changes().log(now(), LogLevel::info, "server_back",
                               {{"route", route_.config.name}, {"server", server.name}});
}

// Of two connects, one failed, or was cancelled since the other was faster: then it has not failed.
void ServerConnect::note_lost(Contender contender, const Error& error) {
  if (cancelled_) return;
  if (is_shortage(error.code)) {
    contender.server = {};
    return route_.wake_queue();
  }
  ++upstream_.attempts;
  const ServerRef& server = contender.server.get();
  if (error.code != ECANCELED) {
    note_failed(*server, error.code, contender.on_trial);
    worker_.upstream_failed(route_, server.get(), error);
    tried_.push_back(server);
  } else if (contender.on_trial) {
    end_trial(*server->load, now() + to_duration(route_.config.eject_time));
  }
  contender.server = {};
  route_.wake_queue();
}

void ServerConnect::note_failed(const Server& server, int error, bool on_trial) const {
  if (is_own_fault(error, server.endpoints.front().is_unix())) return;
  const RouteConfig& config = route_.config;
  const EjectionPolicy policy{config.eject_after, to_duration(config.eject_time)};
  const std::optional<Duration> time =
      note_failure(balancer().set(), server, policy, on_trial, now(), balancer().random());
  if (!time) return;
  const std::chrono::duration<double> seconds = *time;
  worker_.server_changes().log(
      now(), LogLevel::warn, "server_ejected",
      {{"route", config.name}, {"server", server.name}, {"seconds", seconds.count()}});
}

// Whether another connect may follow one that failed.
bool ServerConnect::pay_retry() const { return upstream_.attempts <= retries() && pay(); }

// Takes a connect from the route's budget.
bool ServerConnect::pay() const {
  return now() < deadline_ && budget().take(now(), RoutePicks::kRetry);
}

// Waits before the servers are tried once more, so that many connections do not do so together.
Task<> ServerConnect::rest() {
  tried_.clear();
  const auto longest = static_cast<std::uint64_t>(longest_rest_.count());
  const auto pause = static_cast<Duration::rep>(balancer().random().below(longest + 1));
  longest_rest_ = std::min(2 * longest_rest_, kLongestRest);
  const TimePoint until = std::min(deadline_, now() + Duration(pause));
  while (!cancelled_ && now() < until) {
    co_await worker_.reactor().sleep_until(std::min(until, now() + kRestPart));
  }
}

TimePoint ServerConnect::now() const { return worker_.reactor().now(); }

std::uint64_t ServerConnect::retries() const {
  return route_.config.retries.value_or(route_.has_several_servers() ? kRetries : 0);
}

Duration ServerConnect::hedge_after() const {
  return route_.has_several_servers() ? to_duration(route_.config.hedge_after) : Duration::zero();
}

Balancer& ServerConnect::balancer() const { return route_.picks->balancer; }

balance::TokenBucket& ServerConnect::budget() const { return route_.picks->retries; }

}  // namespace sluice
