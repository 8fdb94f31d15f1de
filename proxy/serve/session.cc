#include "proxy/serve/session.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "iolib/base/hash.h"
#include "iolib/mirror/sample.h"
#include "proxy/log/log.h"
#include "proxy/serve/file_source.h"
#include "proxy/serve/worker.h"
#include "proxy/upstream/blame.h"
#include "proxy/upstream/ejection.h"

namespace sluice {

namespace {

// The name of each end in the log, and its counter: one entry per reason but `none`, in their
// order.
struct Ending {
  EndReason reason;
  std::string_view name;
  Counter counter;
};
constexpr auto kEndings = std::to_array<Ending>({
    {EndReason::closed, "closed", Counter::closed},
    {EndReason::client_reset, "client_reset", Counter::client_resets},
    {EndReason::upstream_reset, "upstream_reset", Counter::upstream_resets},
    {EndReason::idle_timeout, "idle_timeout", Counter::timeouts},
    {EndReason::half_close_timeout, "half_close_timeout", Counter::timeouts},
    {EndReason::connect_refused, "connect_refused", Counter::connect_failures},
    {EndReason::connect_timeout, "connect_timeout", Counter::connect_failures},
    {EndReason::connect_failed, "connect_failed", Counter::connect_failures},
    {EndReason::file_failed, "file_failed", Counter::connect_failures},
    {EndReason::capture_failed, "capture_failed", Counter::stopped},
    {EndReason::server_down, "server_down", Counter::stopped},
    {EndReason::drain_timeout, "drain_timeout", Counter::stopped},
});

constexpr std::size_t ending_index(EndReason reason) {
  return static_cast<std::size_t>(reason) - 1;
}
static_assert(
    [] {
      for (std::size_t i = 0; i < kEndings.size(); ++i) {
        if (ending_index(kEndings[i].reason) != i) return false;
      }
      return ending_index(EndReason::drain_timeout) == kEndings.size() - 1;
    }(),
    "in the order of the reasons, from the first to the last");

// Of a session that has ended.
const Ending& ending_of(EndReason reason) {
  assert(reason != EndReason::none);
  return kEndings[ending_index(reason)];
}

// How often a session that waits for a descriptor tries again. Shorter than the pause after which
// accepting is tried again.
constexpr Duration kShortagePause = std::chrono::milliseconds(20);

// How often a connect that failed is tried again where there are several servers, unless the
// configuration sets it.
constexpr std::uint64_t kRetries = 3;
// The least time for an attempt: a lost SYN is sent again after a second.
constexpr Duration kLeastShare = std::chrono::milliseconds(1'100);
// The longest random pause before all servers are tried a second time, and before any later time.
constexpr Duration kFirstRest = std::chrono::milliseconds(50);
constexpr Duration kLongestRest = std::chrono::seconds(1);

Duration longest_trial(const Route& route) {
  return std::chrono::duration_cast<Duration>(route.config.connect_timeout);
}

// Unnamed where nobody asks for it: that saves a system call.
SocketAddress client_of(const Route& route, int fd) {
  const bool picks_by_it = route.config.balance == Balance::source_hash;
  if (!route.tapped() && !picks_by_it && !log::enabled(LogLevel::info)) return {};
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  auto* address = reinterpret_cast<sockaddr*>(&peer);
  if (::getpeername(fd, address, &size) != 0) return {};
  return SocketAddress::from(address, size);
}

void attach(capture::Recording& recording, capture::Side side, Pump& pump) {
  if (!recording.records(side)) return;
  recording.tap(side).set_wake([&pump] { pump.wake(); });
  pump.attach(recording.tap(side));
}

}  // namespace

void close_with_reset(OwnedFd& fd) {
  reset_on_close(fd.get());
  fd.reset();
}

Session::Session(Worker& worker, RouteSnapshot route, int client, Leg::Kind client_kind)
    : worker_(&worker),
      route_(std::move(route)),
      number_(worker.next_session_number()),
      began_(worker.reactor().now()),
      client_(client_kind == Leg::Kind::tcp ? client_of(*route_, client) : SocketAddress()),
      client_kind_(client_kind) {
  worker_->session_began(*this);
}

Session::~Session() { worker_->session_ended(*this); }

bool Session::has_lost_its_server() const {
  if (has_ended() || endpoint_ == kNoEndpoint || route_->config.on_down == OnDown::keep)
    return false;
  return server_->load->falls.load(std::memory_order_acquire) != falls_;
}

void Session::stop(EndReason why) {
  if (has_ended()) return;
  end_ = why;
  if (auto* const* relay = std::get_if<Relay*>(&running_)) (*relay)->stop(why);
  if (auto* const* file = std::get_if<FileSource*>(&running_)) (*file)->stop();
  if (auto* const* connector = std::get_if<HedgedConnector*>(&running_)) {
    (*connector)->cancel();
  }
}

// The whole life of a connection. Only what lives across a wait is in this frame, because it makes
// up most of an idle connection's memory: locals of one step are in that step's function.
Detached serve(Worker& worker, const RouteSnapshot& route, OwnedFd client, Leg::Kind client_kind) {
  Session session(worker, route, client.get(), client_kind);
  if (session.has_ended()) {  // stopped on its way here from another worker
    close_with_reset(client);
    session.log_end({});
  } else if (std::holds_alternative<FileEndpoint>(session.route_->config.target())) {
    co_await session.send_file(client);
  } else if (OwnedFd upstream; co_await session.open_upstream(upstream)) {
    Relay relay(worker.relay_context(), session.route_->relay, std::move(client), client_kind,
                std::move(upstream), session.upstream_kind());
    session.running_ = &relay;
    capture::Recording* const recording = session.begin_taps(relay);
    for (;;) {
      const EndReason end = co_await relay.run();
      if (end != EndReason::none) {
        session.relayed(end, relay, recording);
        break;
      }
      // Between these two calls the session is in no list: nothing can stop it.
      session.worker_->session_leaves(session);
      co_await session.destination(relay).arrival();
      session.arrive(relay);
    }
  } else {
    close_with_reset(client);
    session.log_end({});
  }
}

// Sends the file and a FIN, then waits for the client's end.
Task<> Session::send_file(OwnedFd& client) {
  FileSource source(*worker_, *route_, client.get());
  running_ = &source;
  capture::Recording* recording = nullptr;
  EndReason end = co_await source.open();
  if (end == EndReason::none) {
    recording = begin_recording();
    const bool shown = recording != nullptr && recording->records(capture::Side::upstream);
    end = co_await source.send(shown ? &recording->tap(capture::Side::upstream) : nullptr);
  }
  running_ = {};
  if (!has_ended()) end_ = end;
  if (recording != nullptr) recording->close(ending_of(end_).name);
  worker_->reactor().forget(client.get());
  end_ == EndReason::closed ? client.reset() : close_with_reset(client);
  log_end({.to_client = source.sent_bytes(), .spliced_to_client = source.spliced_bytes()});
}

// Connects to the upstream. Returns whether the session continues. If no descriptor is free, it
// waits for one, before clients that are not accepted yet.
Task<bool> Session::open_upstream(OwnedFd& upstream) {
  const TimePoint deadline = worker_->reactor().now() + route_->config.connect_timeout;
  if (retries() > 0 || hedge_after() > Duration::zero()) {
    worker_->routes().retries(*route_).add(WorkerRoutes::kRetryShare);
  }
  Result<> opened = co_await open_upstream_by(deadline, upstream);
  while (opened.has_error() && is_shortage(opened.error().code)) {
    const bool came = co_await descriptor_came(opened.error().code, deadline);
    if (!came) break;
    opened = co_await open_upstream_by(deadline, upstream);
  }
  if (opened.has_error()) connect_failed(opened.error());
  co_return !has_ended();
}

// Waits until a descriptor is free. This worker accepts no client meanwhile.
Task<bool> Session::descriptor_came(int error, TimePoint deadline) {
  worker_->admission().descriptor_wanted(error);
  bool came = false;
  while (!came && !has_ended() && worker_->reactor().now() < deadline) {
    co_await worker_->reactor().sleep_until(worker_->reactor().now() + kShortagePause);
    worker_->relay_context().pool.trim();
    came = static_cast<bool>(OwnedFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)));
  }
  worker_->admission().descriptor_had();
  co_return came && !has_ended();
}

// A connect to a server that was picked, and its hedge. Adds the servers that failed to `tried`,
// but the outcome's.
class Session::Attempt final : public HedgedConnector {
 public:
  Attempt(Session& session, Balancer::Pick pick, std::vector<ServerRef>& tried, TimePoint deadline)
      : HedgedConnector(session.worker_->reactor(), session.next_attempt(std::move(pick), deadline),
                        session.hedge_after()),
        session_(session),
        tried_(tried),
        deadline_(deadline) {}

 private:
  std::optional<Contender> hedge(const ServerRef& first) override;
  void lost(Contender contender, const Error& error) override;

  Session& session_;
  std::vector<ServerRef>& tried_;
  TimePoint deadline_;
};

std::optional<HedgedConnector::Contender> Session::Attempt::hedge(const ServerRef& first) {
  if (!session_.pay_connect(deadline_)) return std::nullopt;
  std::vector<ServerRef> others_than = tried_;
  others_than.push_back(first);
  WorkerRoutes& routes = session_.worker_->routes();
  const Route& route = *session_.route_;
  Balancer::Pick pick = routes.balancer(route).pick_hedge(
      session_.source_hash(), others_than, session_.worker_->reactor().now(), longest_trial(route));
  if (pick.server != nullptr) return session_.next_attempt(std::move(pick), deadline_);
  routes.retries(route).add(WorkerRoutes::kRetry);
  return std::nullopt;
}

// A server that was only slower than the other one has not failed.
void Session::Attempt::lost(Contender contender, const Error& error) {
  if (session_.has_ended() || is_shortage(error.code)) return;
  ++session_.attempts_;
  const ServerRef& server = contender.server.get();
  if (error.code != ECANCELED) {
    session_.note_failed(*server, error.code, contender.on_trial);
    session_.worker_->upstream_failed(*session_.route_, server.get(), error);
    tried_.push_back(server);
  } else if (contender.on_trial) {
    const auto time = std::chrono::duration_cast<Duration>(session_.route_->config.eject_time);
    end_trial(*server->load, session_.worker_->reactor().now() + time);
  }
}

// Opens a server of the route; /dev/null for discard, and no descriptor for echo.
Task<Result<>> Session::open_upstream_by(TimePoint deadline, OwnedFd& upstream) {
  const TargetAddress& to = route_->config.target();
  if (std::holds_alternative<EchoEndpoint>(to)) co_return Result<>();
  if (std::holds_alternative<DiscardEndpoint>(to)) {
    upstream = OwnedFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    if (!upstream) co_return errno_error("open /dev/null");
    co_return Result<>();
  }
  std::vector<ServerRef> tried;  // in this round
  Duration longest_rest = kFirstRest;
  Error last{ENOENT, "connect: no server"};
  while (!has_ended() && worker_->reactor().now() < deadline) {
    Balancer::Pick pick = pick_server(tried);
    if (pick.server == nullptr) {
      co_await rest(longest_rest, deadline);
      longest_rest = std::min(2 * longest_rest, kLongestRest);
      tried.clear();
      continue;
    }
    server_ = {};  // one that failed no longer counts
    Attempt attempt(*this, std::move(pick), tried, deadline);
    running_ = &attempt;
    HedgedConnector::Outcome outcome = co_await attempt;
    running_ = {};
    server_ = std::move(outcome.server);
    if (outcome.connected.has_value()) {
      note_connected(*outcome.connected);
      upstream = std::move(outcome.connected->fd);
      co_return Result<>();
    }
    last = outcome.connected.error();
    if (has_ended() || is_shortage(last.code)) break;
    ++attempts_;
    note_failed(*server_.get(), last.code, outcome.on_trial);
    if (!pay_retry(deadline)) break;
    worker_->upstream_failed(*route_, server_.get().get(), last);
    tried.push_back(server_.get());
  }
  co_return last;
}

Balancer::Pick Session::pick_server(std::span<const ServerRef> tried) {
  return worker_->routes().balancer(*route_).pick(source_hash(), tried, worker_->reactor().now(),
                                                  longest_trial(*route_));
}

// An attempt gets an equal share of the time that is left, but at least kLeastShare if possible.
HedgedConnector::Contender Session::next_attempt(Balancer::Pick pick, TimePoint deadline) const {
  const TimePoint now = worker_->reactor().now();
  const std::uint64_t left = 1 + retries() - std::min<std::uint64_t>(attempts_, retries());
  const Duration share = std::max(kLeastShare, (deadline - now) / static_cast<Duration::rep>(left));
  const Server& server = *pick.server;
  return {.server = ServerUse(std::move(pick.server)),
          .on_trial = pick.on_trial,
          .options = {.endpoints = server.endpoints,
                      .first = server.preferred.load(std::memory_order_relaxed),
                      .deadline = std::min(deadline, now + share),
                      .choose_congestion = route_->config.congestion == Congestion::automatic}};
}

void Session::note_connected(const Connected& connected) {
  ++attempts_;
  endpoint_ = static_cast<std::uint16_t>(connected.which);
  falls_ = server_->load->falls.load(std::memory_order_acquire);
  if (server_->preferred.load(std::memory_order_relaxed) != endpoint_) {
    server_->preferred.store(endpoint_, std::memory_order_relaxed);
  }
  if (!note_success(*server_->load)) return;
  worker_->server_changes().log(worker_->reactor().now(), LogLevel::info, "server_back",
                                {{"route", route_->config.name}, {"server", server_->name}});
}

void Session::note_failed(const Server& server, int error, bool on_trial) {
  if (is_own_fault(error, server.endpoints.front().is_unix())) return;
  Balancer& balancer = worker_->routes().balancer(*route_);
  const RouteConfig& config = route_->config;
  const EjectionPolicy policy{config.eject_after,
                              std::chrono::duration_cast<Duration>(config.eject_time)};
  const std::optional<Duration> time = note_failure(balancer.set(), server, policy, on_trial,
                                                    worker_->reactor().now(), balancer.random());
  if (!time) return;
  const std::chrono::duration<double> seconds = *time;
  worker_->server_changes().log(
      worker_->reactor().now(), LogLevel::warn, "server_ejected",
      {{"route", config.name}, {"server", server.name}, {"seconds", seconds.count()}});
}

// Whether another connect may follow one that failed. Takes it from the route's budget.
bool Session::pay_retry(TimePoint deadline) {
  return attempts_ <= retries() && pay_connect(deadline);
}

bool Session::pay_connect(TimePoint deadline) {
  const TimePoint now = worker_->reactor().now();
  return now < deadline && worker_->routes().retries(*route_).take(now, WorkerRoutes::kRetry);
}

// Waits before the servers are tried once more, so that many connections do not do so together.
Task<> Session::rest(Duration longest, TimePoint deadline) {
  Reactor& reactor = worker_->reactor();
  balance::Random& random = worker_->routes().balancer(*route_).random();
  const auto pause =
      static_cast<Duration::rep>(random.below(static_cast<std::uint64_t>(longest.count()) + 1));
  const TimePoint until = std::min(deadline, reactor.now() + Duration(pause));
  while (!has_ended() && reactor.now() < until) {
    co_await reactor.sleep_until(std::min(until, reactor.now() + kShortagePause));
  }
}

std::uint64_t Session::retries() const {
  return route_->config.retries.value_or(has_several_servers() ? kRetries : 0);
}

Duration Session::hedge_after() const {
  if (!has_several_servers()) return Duration::zero();
  return std::chrono::duration_cast<Duration>(route_->config.hedge_after);
}

// A hash of the client's address, if the route picks its servers by it.
std::uint64_t Session::source_hash() const {
  if (route_->config.balance != Balance::source_hash) return 0;
  const bool has_address = client_kind_ == Leg::Kind::tcp;
  return finalized(has_address ? fnv1a(client_.host_bytes()) : number_);
}

Leg::Kind Session::upstream_kind() const {
  if (std::holds_alternative<DiscardEndpoint>(route_->config.target())) return Leg::Kind::device;
  const bool is_unix = endpoint_ != kNoEndpoint && server_->endpoints[endpoint_].is_unix();
  return is_unix ? Leg::Kind::unix_stream : Leg::Kind::tcp;
}

// Attaches the recording and the mirrors. Returns null if the route is not recorded. The mirrors
// come after the recording, which decides how much of a tee is forwarded.
capture::Recording* Session::begin_taps(Relay& relay) {
  capture::Recording* const recording = begin_recording();
  if (recording != nullptr) {
    attach(*recording, capture::Side::client, relay.to_upstream());
    attach(*recording, capture::Side::upstream, relay.to_client());
  }
  const std::uint64_t hash =
      client_kind_ == Leg::Kind::tcp ? mirror::sample_hash(client_) : mirror::sample_hash(number_);
  worker_->mirrors().attach(*route_, number_, hash, relay.to_upstream());
  return recording;
}

// The sides whose bytes a tap sees. The upstream of a discard route sends nothing, and that of an
// echo route the client's own bytes. What the client of a file route sends is discarded.
std::uint8_t Session::recorded_sides() const {
  const RouteConfig& config = route_->config;
  std::uint8_t sides = config.capture_direction == CaptureDirection::both     ? 3
                       : config.capture_direction == CaptureDirection::client ? 1
                                                                              : 2;
  if (std::holds_alternative<DiscardEndpoint>(config.target()) ||
      std::holds_alternative<EchoEndpoint>(config.target())) {
    sides &= 1;
  } else if (std::holds_alternative<FileEndpoint>(config.target())) {
    sides &= 2;
  }
  return sides;
}

// Returns null if the route is not recorded.
capture::Recording* Session::begin_recording() {
  const RouteConfig& config = route_->config;
  capture::Recorder* recorder = worker_->recorder(config);
  if (recorder == nullptr) return nullptr;
  capture::RecordingOptions options;
  options.sides = recorded_sides();
  options.sink = is_sink(config);
  if (config.capture_limit_bytes > 0) options.limit_bytes = config.capture_limit_bytes;
  capture::OpenInfo info;
  info.id = worker_->session_id(number_);
  info.route = config.name;
  info.client = client_text();
  info.upstream = upstream_text();
  capture::Recording& recording = recorder->open(number_, std::move(info), options);
  recording.set_on_failed([this] { stop(EndReason::capture_failed); });
  return &recording;
}

std::string Session::client_text() const {
  return client_kind_ == Leg::Kind::tcp ? client_.to_string() : "unix:";
}

std::string Session::upstream_text() const {
  if (endpoint_ != kNoEndpoint) return server_->endpoints[endpoint_].text;
  return server_ ? server_->name : to_string(route_->config.target());
}

Worker& Session::destination(const Relay& relay) const {
  return worker_->worker(static_cast<std::size_t>(relay.destination()));
}

void Session::arrive(Relay& relay) {
  worker_ = &destination(relay);
  relay.move_to(worker_->relay_context());
  worker_->session_arrived(*this);
}

void Session::connect_failed(const Error& error) {
  if (has_ended()) return;
  end_ = error.code == ECONNREFUSED ? EndReason::connect_refused
         : error.code == ETIMEDOUT  ? EndReason::connect_timeout
                                    : EndReason::connect_failed;
  worker_->upstream_failed(*route_, server_.get().get(), error);
}

void Session::relayed(EndReason end, Relay& relay, capture::Recording* recording) {
  running_ = {};
  if (!has_ended()) end_ = end;
  if (recording != nullptr) recording->close(ending_of(end_).name);
  const Pump& up = relay.to_upstream();
  const bool echoes = std::holds_alternative<EchoEndpoint>(route_->config.target());
  const Pump& down = echoes ? up : relay.to_client();
  log_end({up.forwarded_bytes(), down.forwarded_bytes(), up.spliced_bytes(), down.spliced_bytes()});
}

void Session::log_end(const Totals& totals) {
  const Ending& ending = ending_of(end_);
  Stats& stats = worker_->stats();
  stats.add(ending.counter);
  stats.add(Counter::bytes_to_upstream, totals.to_upstream);
  stats.add(Counter::bytes_to_client, totals.to_client);
  stats.add(Counter::bytes_spliced, totals.spliced_to_upstream + totals.spliced_to_client);
  if (!log::enabled(LogLevel::info)) return;
  const std::string id = worker_->session_id(number_);
  const std::string client = client_text();
  const std::string upstream = upstream_text();
  const std::chrono::duration<double> duration = worker_->reactor().now() - began_;
  const std::string_view server = server_ ? std::string_view(server_->name) : "";
  const auto fields =
      std::to_array<log::Field>({{"id", id},
                                 {"route", route_->config.name},
                                 {"client", client},
                                 {"upstream", upstream},
                                 {"to_upstream", totals.to_upstream},
                                 {"to_client", totals.to_client},
                                 {"spliced_to_upstream", totals.spliced_to_upstream},
                                 {"spliced_to_client", totals.spliced_to_client},
                                 {"duration", duration.count()},
                                 {"reason", ending.name},
                                 {"server", server},
                                 {"attempts", std::uint64_t{attempts_}}});
  constexpr std::size_t kOfSeveral = 2;  // the last fields
  log::write(LogLevel::info, "connection",
             log::Fields(fields).first(fields.size() - (has_several_servers() ? 0 : kOfSeveral)));
}

}  // namespace sluice
