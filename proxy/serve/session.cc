#include "proxy/serve/session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "iolib/base/hash.h"
#include "iolib/base/readiness.h"
#include "iolib/mirror/sample.h"
#include "iolib/wire/proxy_header.h"
#include "proxy/log/ending.h"
#include "proxy/log/log.h"
#include "proxy/serve/file_source.h"
#include "proxy/serve/worker.h"
#include "proxy/upstream/blame.h"

namespace sluice {

namespace {

// How often a session that waits for a descriptor tries again. Shorter than the pause after which
// accepting is tried again.
constexpr Duration kShortagePause = std::chrono::milliseconds(20);

// Unnamed where nobody asks for it: that saves a system call.
SocketAddress client_of(const Route& route, int fd) {
  const RouteConfig& config = route.config;
  const bool needed = route.tapped() || config.balance == Balance::source_hash ||
                      Entrance::is_needed(route) || config.proxy_out != ProxyOut::off ||
                      route.queue != nullptr;  // a reload may ask for it while it waits
  if (!needed && !log::enabled(LogLevel::info)) return {};
  return peer_name(fd);
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
  worker_->counts(*route_).active.add();
}

Session::~Session() {
  if (ticket_) ticket_->give_back(client_, worker_->reactor().now());
  if (route_->queue != nullptr) {
    upstream_.server = {};
    route_->wake_queue();
  }
  worker_->counts(*route_).active.subtract();
  worker_->session_ended(*this);
}

bool Session::has_lost_its_server() const {
  return !has_ended() && upstream_.is_connected() && upstream_.server.has_fallen() &&
         route_->config.on_down == OnDown::reset;
}

bool Session::may_yet_record_to(std::string_view path) const {
  const bool relays = std::holds_alternative<Relay*>(running_);
  return !has_ended() && recorded_sides_ == 0 && !relays && route_->config.capture == path;
}

void Session::stop(EndReason why) {
  if (has_ended()) return;
  end_ = why;
  if (auto* const* relay = std::get_if<Relay*>(&running_)) (*relay)->stop(why);
  if (auto* const* file = std::get_if<FileSource*>(&running_)) (*file)->stop();
  if (auto* const* entrance = std::get_if<Entrance*>(&running_)) (*entrance)->cancel();
  if (auto* const* wait = std::get_if<PlaceWait*>(&running_)) (*wait)->cancel();
  if (auto* const* connect = std::get_if<ServerConnect*>(&running_)) (*connect)->cancel();
}

// The whole life of a connection. Only what lives across a wait is in this frame, because it makes
// up most of an idle connection's memory: locals of one step are in that step's function.
Detached serve(Worker& worker, const RouteSnapshot& route, OwnedFd client, Leg::Kind client_kind) {
  Session session(worker, route, client.get(), client_kind);
  // One that has ended was stopped on its way here from another worker.
  OwnedFd upstream;
  if (session.has_ended() || !co_await session.open_upstream(client.get(), upstream)) {
    close_with_reset(client);
    session.log_end({});
  } else if (session.sends_file()) {
    co_await session.send_file(client);
  } else {
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

// Finds the route, and connects to its upstream, unless that is a file. Returns whether the session
// continues. If no descriptor is free, it waits for one, before clients that are not accepted yet.
Task<bool> Session::open_upstream(int client, OwnedFd& upstream) {
  if (Entrance::is_needed(*route_)) {
    Entrance entrance(*worker_, {client_, route_, ticket_, client_kind_, client});
    running_ = &entrance;
    const EndReason end = co_await entrance.pass();
    running_ = {};
    if (!has_ended()) end_ = end;
  }
  if (has_ended()) co_return false;
  std::optional<ServerConnect> connect;
  if (route_->queue != nullptr) {
    if (!co_await await_place(client, connect, Queueing::first_time)) co_return false;
  } else if (!Ticket::take_place(ticket_, *route_)) {
    end_ = EndReason::over_route_connections;
    co_return false;
  }
  set_times(client, client_kind_);
  if (sends_file()) co_return true;
  running_ = &make_if_missing(connect);
  Result<OwnedFd> opened = co_await open_target(*connect);
  while (opened.has_error()) {
    if (is_shortage(opened.error().code)) {
      if (!co_await descriptor_came(opened.error().code, connect->deadline())) break;
    } else if (connect->is_limited() && route_->config.queue > 0 && !has_ended()) {
      if (!co_await await_place(client, connect, Queueing::again)) co_return false;
      // A reload may have changed the target meanwhile.
      if (sends_file()) co_return true;
      running_ = &make_if_missing(connect);
    } else {
      break;
    }
    opened = co_await open_target(*connect);
  }
  running_ = {};
  if (opened.has_value()) opened = introduced(std::move(*opened), client);
  if (opened.has_error()) connect_failed(opened.error(), connect->is_limited());
  if (has_lost_its_server()) end_ = EndReason::server_down;  // while it connected
  if (!has_ended()) {
    upstream = std::move(*opened);
    set_times(upstream.get(), upstream_kind());
  } else if (opened.has_value() && *opened) {
    reset_on_close(opened->get());
    worker_->reactor().close(std::move(*opened));
  }
  co_return !has_ended();
}

ServerConnect& Session::make_if_missing(std::optional<ServerConnect>& connect) {
  if (!connect) connect.emplace(*worker_, *route_, source_hash(), upstream_);
  return *connect;
}

// How soon the kernel finds out that a peer is gone, if the route says so.
void Session::set_times(int fd, Leg::Kind kind) const {
  const RouteConfig& config = route_->config;
  if (kind != Leg::Kind::tcp) return;
  if (config.keepalive.count() > 0) set_keepalive_idle(fd, to_duration(config.keepalive));
  if (config.user_timeout.count() > 0) set_user_timeout(fd, to_duration(config.user_timeout));
}

// Tells the server which client it serves, if the route says so. The header fits into the empty
// buffer of a new socket. If the client has sent something, the header leaves together with that
// (MSG_MORE; after 200 ms the kernel sends it in any case).
Result<OwnedFd> Session::introduced(OwnedFd upstream, int client) const {
  const RouteConfig& config = route_->config;
  if (config.proxy_out == ProxyOut::off || !upstream_.is_connected()) return upstream;
  const auto has = [&](ProxyTlv tlv) {
    return std::ranges::find(config.proxy_tlvs, tlv) != config.proxy_tlvs.end();
  };
  const std::string id = has(ProxyTlv::unique_id) ? worker_->session_id(number_) : "";
  const bool declared = ticket_ && ticket_->target.family() != AF_UNSPEC;
  const wire::ProxyOut out{.client = client_,
                           .target = declared ? ticket_->target : local_name(client),
                           .authority = has(ProxyTlv::authority) ? server_name() : "",
                           .unique_id = id,
                           .crc32c = has(ProxyTlv::crc32c)};
  const std::string header =
      config.proxy_out == ProxyOut::v1 ? wire::proxy_header_v1(out) : wire::proxy_header_v2(out);
  const int more = ready_events(client, POLLIN) == POLLIN ? MSG_MORE : 0;
  const ssize_t sent =
      ::send(upstream.get(), header.data(), header.size(), MSG_DONTWAIT | MSG_NOSIGNAL | more);
  // If the server has reset the connection, the relay finds that, and what it sent before.
  const bool is_reset = sent < 0 && (errno == EPIPE || errno == ECONNRESET);
  if (is_reset || sent == static_cast<ssize_t>(header.size())) return upstream;
  const Error error = errno_error("send a PROXY header to " + upstream_.address().text);
  worker_->reactor().forget(upstream.get());
  return error;
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

// Opens a server of the route; /dev/null for discard, and no descriptor for echo.
Task<Result<OwnedFd>> Session::open_target(ServerConnect& connect) {
  const TargetAddress& to = route_->config.target();
  if (std::holds_alternative<EchoEndpoint>(to)) co_return OwnedFd();
  if (!std::holds_alternative<DiscardEndpoint>(to)) co_return co_await connect.run();
  OwnedFd fd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (!fd) co_return errno_error("open /dev/null");
  co_return fd;
}

// A hash of the client's address, if the route picks its servers by it.
std::uint64_t Session::source_hash() const {
  if (route_->config.balance != Balance::source_hash) return 0;
  return finalized(has_address() ? fnv1a(client_.host_bytes()) : number_);
}

Leg::Kind Session::upstream_kind() const {
  if (std::holds_alternative<DiscardEndpoint>(route_->config.target())) return Leg::Kind::device;
  const bool is_unix = upstream_.is_connected() && upstream_.address().is_unix();
  return is_unix ? Leg::Kind::unix_stream : Leg::Kind::tcp;
}

// Attaches the recording and the mirrors. Returns null if the session is not recorded. The mirrors
// come after the recording, which decides how much of a tee is forwarded.
capture::Recording* Session::begin_taps(Relay& relay) {
  capture::Recording* const recording = begin_recording();
  if (recording != nullptr) {
    attach(*recording, capture::Side::client, relay.to_upstream());
    attach(*recording, capture::Side::upstream, relay.to_client());
  }
  relay.to_upstream().limit(throttle_to_upstream(*route_));
  relay.to_client().limit(throttle_to_client(*route_));
  const std::uint64_t hash =
      has_address() ? mirror::sample_hash(client_) : mirror::sample_hash(number_);
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

// Returns null if the session is not recorded. It then ends if its route wants that.
capture::Recording* Session::begin_recording() {
  if (!Worker::records(*route_)) return nullptr;
  const RouteConfig& config = route_->config;
  capture::Recorder* recorder = worker_->recorder(*route_);
  if (recorder == nullptr) {
    stop(EndReason::capture_failed);
    return nullptr;
  }
  capture::RecordingOptions options;
  options.sides = recorded_sides();
  options.sink = is_sink(config);
  if (config.capture_limit_bytes > 0) options.limit_bytes = config.capture_limit_bytes;
  capture::OpenInfo info;
  info.id = worker_->session_id(number_);
  info.route = config.name;
  info.client = client_text();
  info.upstream = upstream_text();
  recorded_sides_ = options.sides;
  capture::Recording& recording = recorder->open(number_, std::move(info), options);
  recording.set_on_failed([this] { stop(EndReason::capture_failed); });
  return &recording;
}

Worker& Session::destination(const Relay& relay) const {
  return worker_->worker(static_cast<std::size_t>(relay.destination()));
}

void Session::arrive(Relay& relay) {
  worker_ = &destination(relay);
  relay.move_to(worker_->relay_context());
  worker_->session_arrived(*this);
}

void Session::connect_failed(const Error& error, bool is_limited) {
  if (has_ended()) return;
  if (is_limited) {
    end_ = EndReason::over_server_connections;
    return;
  }
  const bool no_server =
      route_->config.has_servers() && !upstream_.server && upstream_.attempts == 0;
  end_ = no_server                    ? EndReason::no_server
         : error.code == ECONNREFUSED ? EndReason::connect_refused
         : error.code == ETIMEDOUT    ? EndReason::connect_timeout
                                      : EndReason::connect_failed;
  worker_->upstream_failed(*route_, upstream_.server.get().get(), error);
}

void Session::relayed(EndReason end, Relay& relay, capture::Recording* recording) {
  running_ = {};
  if (!has_ended()) end_ = end;
  if (recording != nullptr) recording->close(ending_of(end_).name);
  log_end(totals_of(relay));
}

}  // namespace sluice
