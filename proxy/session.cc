#include "proxy/session.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "iolib/pipe/splice.h"
#include "proxy/file_thread.h"
#include "proxy/log.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

namespace sluice {
namespace {

// What a file route reads ahead and then sends before another connection has its turn.
constexpr std::size_t kFileTurnBytes = 1 << 20;

SessionEnd session_end(RelayEnd end) {
  switch (end) {
    case RelayEnd::client_reset:
      return SessionEnd::client_reset;
    case RelayEnd::upstream_reset:
      return SessionEnd::upstream_reset;
    case RelayEnd::idle_timeout:
      return SessionEnd::idle_timeout;
    case RelayEnd::half_close_timeout:
      return SessionEnd::half_close_timeout;
    default:
      return SessionEnd::closed;
  }
}

Counter counter_of(SessionEnd end) {
  switch (end) {
    case SessionEnd::closed:
      return Counter::closed;
    case SessionEnd::client_reset:
      return Counter::client_resets;
    case SessionEnd::upstream_reset:
      return Counter::upstream_resets;
    case SessionEnd::idle_timeout:
    case SessionEnd::half_close_timeout:
      return Counter::timeouts;
    case SessionEnd::drain_timeout:
      return Counter::stopped;
    default:
      return Counter::connect_failures;
  }
}

SocketAddress peer_of(int fd) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  auto* address = reinterpret_cast<sockaddr*>(&peer);
  if (::getpeername(fd, address, &size) != 0) return {};
  return SocketAddress::from(address, size);
}

struct OpenedFile {
  OwnedFd fd;
  std::uint64_t size_bytes = 0;
  std::optional<Error> error;
};

// May wait for a disk or a network filesystem.
OpenedFile open_file(const std::string& path) {
  OpenedFile opened;
  opened.fd = OwnedFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat about {};
  if (!opened.fd || ::fstat(opened.fd.get(), &about) != 0) {
    opened.error = errno_error("open " + path);
  } else if (!S_ISREG(about.st_mode)) {
    opened.error = Error{EINVAL, path + " is not a regular file"};
  }
  opened.size_bytes = static_cast<std::uint64_t>(about.st_size);
  return opened;
}

// A failed sendfile is the socket's doing or the file's.
SessionEnd failed_send(int error) {
  return error == EIO || error == ESTALE ? SessionEnd::file_failed : SessionEnd::client_reset;
}

}  // namespace

void close_with_reset(OwnedFd& fd) {
  const linger at_once{1, 0};
  static_cast<void>(::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
  fd.reset();
}

std::string_view to_string(SessionEnd end) {
  switch (end) {
    case SessionEnd::closed:
      return "closed";
    case SessionEnd::client_reset:
      return "client_reset";
    case SessionEnd::upstream_reset:
      return "upstream_reset";
    case SessionEnd::connect_refused:
      return "connect_refused";
    case SessionEnd::connect_timeout:
      return "connect_timeout";
    case SessionEnd::connect_failed:
      return "connect_failed";
    case SessionEnd::idle_timeout:
      return "idle_timeout";
    case SessionEnd::half_close_timeout:
      return "half_close_timeout";
    case SessionEnd::file_failed:
      return "file_failed";
    case SessionEnd::drain_timeout:
      return "drain_timeout";
  }
  return "?";
}

Session::Session(Worker& worker, RouteSnapshot route, int client, Leg::Kind client_kind)
    : worker_(&worker),
      route_(std::move(route)),
      number_(worker.next_session_number()),
      began_(worker.reactor().now()),
      client_(client_kind == Leg::Kind::tcp ? peer_of(client) : SocketAddress()),
      client_kind_(client_kind) {
  worker_->session_began(*this);
}

Session::~Session() { worker_->session_ended(*this); }

void Session::stop(SessionEnd why) {
  if (std::exchange(stopped_, true)) return;
  end_ = why;
  if (relay_ != nullptr) relay_->stop();
  if (pending_ != nullptr) worker_->reactor().cancel(*pending_);
}

// The whole life of a connection.
Detached serve(Worker& worker, RouteSnapshot route, OwnedFd client, Leg::Kind client_kind) {
  Session session(worker, std::move(route), client.get(), client_kind);
  if (const auto* file = std::get_if<FileEndpoint>(&session.route_->config.to)) {
    co_await session.send_file(client, *file);
  } else {
    Result<OwnedFd> upstream = co_await session.open_upstream();
    if (upstream.has_error() || session.stopped_) {
      if (upstream.has_error()) session.connect_failed(upstream.error());
      close_with_reset(client);
    } else {
      const bool device = std::holds_alternative<DiscardEndpoint>(session.route_->config.to);
      const Leg::Kind kind = device ? Leg::Kind::device
                             : session.upstream_ == Session::kNoUpstream
                                 ? Leg::Kind::tcp
                                 : session.route_->upstreams[session.upstream_].kind;
      Relay relay(worker.relay_context(), session.route_->relay, std::move(client), client_kind,
                  std::move(*upstream), kind);
      session.relay_ = &relay;
      RelayEnd end = co_await relay.run();
      while (end == RelayEnd::running) {
        Worker& destination = worker.worker(relay.destination());
        session.leave();
        co_await destination.arrival();
        session.arrive(destination, relay);
        end = co_await relay.run();
      }
      session.relayed(end, relay);
    }
  }
  session.log_end();
}

// A connection to one of the route's addresses; /dev/null for discard, and nothing for echo.
Task<Result<OwnedFd>> Session::open_upstream() {
  const TargetAddress& to = route_->config.to;
  if (std::holds_alternative<EchoEndpoint>(to)) co_return OwnedFd();
  if (std::holds_alternative<DiscardEndpoint>(to)) {
    OwnedFd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    if (!null) co_return errno_error("open /dev/null");
    co_return null;
  }
  const std::size_t first = worker_->preferred_upstream(*route_);
  Result<Connected> connected =
      co_await connect_upstream(worker_->reactor(), *route_, first, pending_);
  if (connected.has_error()) co_return connected.error();
  upstream_ = static_cast<std::uint16_t>(connected->upstream);
  if (connected->upstream != first) worker_->prefer_upstream(*route_, connected->upstream);
  co_return std::move(connected->fd);
}

// Between these two the session is nowhere: nobody can stop it.
void Session::leave() { worker_->session_left(*this); }

void Session::arrive(Worker& worker, Relay& relay) {
  worker_ = &worker;
  relay.move_to(worker.relay_context());
  worker.session_began(*this);
}

void Session::connect_failed(const Error& error) {
  if (stopped_) return;
  end_ = error.code == ECONNREFUSED ? SessionEnd::connect_refused
         : error.code == ETIMEDOUT  ? SessionEnd::connect_timeout
                                    : SessionEnd::connect_failed;
  worker_->upstream_failed(*route_, error);
}

void Session::relayed(RelayEnd end, Relay& relay) {
  relay_ = nullptr;
  if (!stopped_) end_ = session_end(end);
  to_upstream_ = relay.to_upstream().forwarded_bytes();
  to_client_ = relay.to_client().forwarded_bytes();
  spliced_to_upstream_ = relay.to_upstream().spliced_bytes();
  spliced_to_client_ = relay.to_client().spliced_bytes();
  if (std::holds_alternative<EchoEndpoint>(route_->config.to)) {
    to_client_ = to_upstream_;
    spliced_to_client_ = spliced_to_upstream_;
  }
}

void Session::log_end() {
  Stats& stats = worker_->stats();
  stats.add(counter_of(end_));
  stats.add(Counter::bytes_to_upstream, to_upstream_);
  stats.add(Counter::bytes_to_client, to_client_);
  stats.add(Counter::bytes_spliced, spliced_to_upstream_ + spliced_to_client_);
  if (!log::enabled(LogLevel::info)) return;
  const std::string id = worker_->session_id(number_);
  const std::string client = client_kind_ == Leg::Kind::tcp ? client_.to_string() : "unix:";
  const std::string target = to_string(route_->config.to);
  const bool chosen = upstream_ != kNoUpstream;
  const std::chrono::duration<double> duration = worker_->reactor().now() - began_;
  log::info("connection",
            {{"id", id},
             {"route", route_->config.name},
             {"client", client},
             {"upstream", chosen ? std::string_view(route_->upstreams[upstream_].text) : target},
             {"to_upstream", to_upstream_},
             {"to_client", to_client_},
             {"spliced_to_upstream", spliced_to_upstream_},
             {"spliced_to_client", spliced_to_client_},
             {"duration", duration.count()},
             {"reason", to_string(end_)}});
}

// --- file: routes ---

// Sends the file and FIN, then waits for the client's own end.
Task<> Session::send_file(OwnedFd& client, const FileEndpoint& file) {
  OpenedFile source;
  const std::function<void()> open = [&] { source = open_file(file.path); };
  co_await worker_->files().run(worker_->reactor(), open);
  if (source.error || stopped_) {
    if (!stopped_) {
      end_ = SessionEnd::file_failed;
      worker_->upstream_failed(*route_, *source.error);
    }
    close_with_reset(client);
    co_return;
  }
  SessionEnd end = co_await send_range(client.get(), source.fd.get(), source.size_bytes);
  if (end == SessionEnd::closed && !stopped_) {
    static_cast<void>(::shutdown(client.get(), SHUT_WR));
    end = co_await await_end(client.get());
  }
  if (!stopped_) end_ = end;
  worker_->reactor().forget(client.get());
  if (end_ == SessionEnd::closed) {
    client.reset();
  } else {
    close_with_reset(client);
  }
}

Task<SessionEnd> Session::send_range(int client, int file, std::uint64_t size_bytes) {
  Reactor& reactor = worker_->reactor();
  const Duration idle = route_->config.idle_timeout;
  std::uint64_t read_in = 0;
  while (to_client_ < size_bytes && !stopped_) {
    if (read_in == to_client_) {
      const auto turn = std::min<std::uint64_t>(kFileTurnBytes, size_bytes - to_client_);
      co_await worker_->files().read_in(reactor, {file, to_client_, turn});
      read_in += turn;
      if (stopped_) break;
    }
    const Transfer sent = sluice::send_file(client, file, to_client_, read_in - to_client_);
    if (sent.status == Transfer::Status::end)
      co_return SessionEnd::file_failed;  // it was cut short
    if (sent.status == Transfer::Status::failed) co_return failed_send(sent.error);
    to_client_ += sent.bytes;
    spliced_to_client_ += sent.bytes;
    if (to_client_ == size_bytes) break;
    const TimePoint deadline = idle > Duration::zero() ? reactor.now() + idle : TimePoint::max();
    Reactor::Wait writable = reactor.writable(client, deadline);
    pending_ = &writable;
    const int ready = co_await writable;
    pending_ = nullptr;
    if (ready == -ETIMEDOUT) co_return SessionEnd::idle_timeout;
  }
  co_return SessionEnd::closed;
}

// Reads and throws away what the client sends until it ends: closing with unread data would destroy
// what it has not yet acknowledged.
Task<SessionEnd> Session::await_end(int client) {
  Reactor& reactor = worker_->reactor();
  std::array<std::byte, 4096> waste;
  const Duration limit = route_->config.half_close_timeout;
  while (!stopped_) {
    const ssize_t got = ::recv(client, waste.data(), waste.size(), MSG_DONTWAIT);
    if (got == 0) break;
    if (got < 0 && errno != EAGAIN && errno != EINTR) co_return SessionEnd::client_reset;
    const TimePoint deadline = limit > Duration::zero() ? reactor.now() + limit : TimePoint::max();
    Reactor::Wait readable = reactor.readable(client, deadline);
    pending_ = &readable;
    const int ready = co_await readable;
    pending_ = nullptr;
    if (ready == -ETIMEDOUT) co_return SessionEnd::half_close_timeout;
  }
  co_return SessionEnd::closed;
}

// --- SessionList ---

void SessionList::add(Session& session) {
  session.previous_ = nullptr;
  session.next_ = first_;
  if (first_ != nullptr) first_->previous_ = &session;
  first_ = &session;
  ++size_;
}

void SessionList::remove(Session& session) {
  if (session.previous_ != nullptr) session.previous_->next_ = session.next_;
  if (session.next_ != nullptr) session.next_->previous_ = session.previous_;
  if (first_ == &session) first_ = session.next_;
  --size_;
}

void SessionList::stop_all(SessionEnd why) {
  // Stopping takes effect in a later turn: no session leaves the list here.
  for (Session* session = first_; session != nullptr; session = session->next_) session->stop(why);
}

}  // namespace sluice
