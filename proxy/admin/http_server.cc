// The only file that includes Boost.Beast, which takes long to compile.
#include "proxy/admin/http_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"

namespace sluice::admin {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kMostConnections = 32;
// How many of them TCP peers may have; the rest is for unix peers.
constexpr std::size_t kMostTcpConnections = 28;
constexpr std::uint32_t kMostHeaderBytes = 8 << 10;
constexpr std::uint64_t kMostBodyBytes = 64 << 10;
constexpr std::size_t kMostBufferBytes = 16 << 10;
constexpr std::chrono::seconds kHeaderTime(5);
constexpr std::chrono::seconds kBodyTime(5);
constexpr std::chrono::seconds kWriteTime(10);
// How long a connection may be idle between two requests.
constexpr std::chrono::seconds kIdleTime(75);
// A connection that is closed with unread bytes is reset, and the peer might never see the
// response. So the server reads on, up to this long and this much, until the peer closes.
constexpr std::chrono::seconds kLingerTime(1);
constexpr std::size_t kMostLingerBytes = 1 << 20;
// How many connections are accepted before those that wait are looked at, and the pause if no
// descriptor is free.
constexpr int kAcceptsAtOnce = 16;
constexpr std::chrono::milliseconds kAcceptPause(100);

using Executor = asio::io_context::executor_type;
using Protocol = asio::generic::stream_protocol;
using Stream = beast::basic_stream<Protocol, Executor>;
using Parser = http::request_parser<http::string_body>;

// Errors are results, not exceptions.
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

// One connection. Its coroutine and the server's list share it.
struct Connection {
  Connection(Executor executor, Peer its_peer) : stream(executor), peer(its_peer) {}

  enum class State : std::uint8_t {
    reading,    // waits for a complete request, or for the peer to close
    writing,    // waits for the peer to take the response
    answering,  // waits for the handler
    closed,
  };
  void enter(State next) {
    if (state == State::closed) return;
    state = next;
    since = Clock::now();
  }
  [[nodiscard]] bool is_unix() const { return peer == Peer::unix_socket; }

  Stream stream;
  const Peer peer;
  bool idle = false;  // no byte of the next request has come
  beast::flat_buffer buffer{kMostBufferBytes};
  State state = State::reading;
  TimePoint since = Clock::now();
};
using State = Connection::State;

// For the handler's reply.
struct Waiting {
  explicit Waiting(asio::io_context& context)
      : replied(context, asio::steady_timer::time_point::max()) {}
  asio::steady_timer replied;  // cancelled by the reply
  HttpResponse response;
};

std::optional<std::string> field_of(const Parser& parser, std::string_view name) {
  const auto found = parser.get().find(beast::string_view(name.data(), name.size()));
  if (found == parser.get().end()) return std::nullopt;
  return std::string(found->value());
}

// What is wrong with a header that the parser took; empty: nothing. RFC 9112, sections 3.2 and 6.1.
std::string_view fault_of(const Parser& parser) {
  const auto& request = parser.get();
  const std::size_t hosts = request.count(http::field::host);
  if (hosts > 1) return "There is more than one Host field.";
  if (hosts == 0 && request.version() > 10) return "The Host field is missing.";
  if (request.count(http::field::transfer_encoding) > 0 &&
      !beast::iequals(request[http::field::transfer_encoding], "chunked")) {
    return "The only transfer coding that is known is chunked.";
  }
  if (!request.target().starts_with('/')) return "The target is no path.";
  return {};
}

HttpRequest request_of(Parser& parser, Peer peer) {
  HttpRequest request;
  request.method = std::string(parser.get().method_string());
  request.target = std::string(parser.get().target());
  request.peer = peer;
  request.host = field_of(parser, "Host");
  request.origin = field_of(parser, "Origin");
  request.authorization = field_of(parser, "Authorization");
  request.content_type = field_of(parser, "Content-Type");
  request.if_none_match = field_of(parser, "If-None-Match");
  request.x_sluice = field_of(parser, "X-Sluice");
  request.body = std::move(parser.get().body());
  return request;
}

}  // namespace

class HttpServer::Impl {
 public:
  enum class Accepting : std::uint8_t { yes, held, no_more };

  explicit Impl(Handler handler) : handler_(std::move(handler)) {}
  ~Impl() { connections_.clear(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void accept_from(OwnedFd listener, Peer peer) {
    listeners_.emplace_back(context_, listener.release());
    asio::co_spawn(context_, accept(listeners_.back(), peer), asio::detached);
  }
  void enter(Accepting next);
  void run() { context_.run(); }
  void stop() { context_.stop(); }
  void post(std::function<void()> task) { asio::post(context_, std::move(task)); }
  void repeat(Duration interval, std::function<void()> task) {
    asio::co_spawn(context_, run_at_each(interval, std::move(task)), asio::detached);
  }
  [[nodiscard]] std::uint64_t rejected(Rejection why) const {
    return rejected_[static_cast<std::size_t>(why)];
  }

 private:
  using Shared = std::shared_ptr<Connection>;
  // How a request ended.
  enum class Next : std::uint8_t { request, close, close_at_once };

  void reject(Rejection why) { ++rejected_[static_cast<std::size_t>(why)]; }

  asio::awaitable<void> accept(asio::posix::stream_descriptor& listener, Peer peer);
  asio::awaitable<void> run_at_each(Duration interval, std::function<void()> task);
  void admit(OwnedFd socket, Peer peer);
  void make_room(Peer newcomer);
  asio::awaitable<void> serve(Shared connection);
  asio::awaitable<Next> serve_request(Connection& connection, bool first);
  asio::awaitable<Next> read_body(Connection& connection, Parser& parser);
  asio::awaitable<Next> refuse(Connection& connection, ErrorCode error, bool idle);
  asio::awaitable<HttpResponse> answer(HttpRequest& request);
  asio::awaitable<Next> write(Connection& connection, const HttpResponse& response, bool with_body,
                              bool keep_alive);
  asio::awaitable<void> linger(Connection& connection);

  Handler handler_;
  Accepting accepting_ = Accepting::yes;
  std::array<std::uint64_t, kRejections> rejected_{};
  std::vector<Shared> connections_;
  // Destroyed first, with all coroutines that wait.
  asio::io_context context_{1};
  std::list<asio::posix::stream_descriptor> listeners_;
  asio::steady_timer changed_{context_, asio::steady_timer::time_point::max()};  // accepting_ was
};

// --- Accepting ---

asio::awaitable<void> HttpServer::Impl::accept(asio::posix::stream_descriptor& listener,
                                               Peer peer) {
  asio::steady_timer pause(context_);
  while (accepting_ != Accepting::no_more) {
    if (accepting_ == Accepting::held) {
      co_await changed_.async_wait(kAwait);
      continue;
    }
    const auto [error] =
        co_await listener.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (error && error != asio::error::operation_aborted) co_return;
    for (int i = 0; i < kAcceptsAtOnce && accepting_ == Accepting::yes; ++i) {
      OwnedFd socket(
          ::accept4(listener.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (socket) {
        admit(std::move(socket), peer);
        continue;
      }
      if (errno == EAGAIN) break;
      if (errno == ECONNABORTED || errno == EINTR) continue;
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(kAwait);
      break;
    }
  }
}

void HttpServer::Impl::enter(Accepting next) {
  if (accepting_ == Accepting::no_more) return;
  accepting_ = next;
  changed_.cancel();
  ErrorCode ignored;
  for (asio::posix::stream_descriptor& each : listeners_) {
    next == Accepting::no_more ? each.close(ignored) : each.cancel(ignored);
  }
  if (next != Accepting::no_more) return;
  for (const Shared& each : connections_) {
    if (each->idle) each->stream.close();
  }
}

void HttpServer::Impl::admit(OwnedFd socket, Peer peer) {
  make_room(peer);
  const int family = peer == Peer::unix_socket ? AF_UNIX : AF_INET;
  auto connection = std::make_shared<Connection>(context_.get_executor(), peer);
  ErrorCode error;
  connection->stream.socket().assign(Protocol(family, 0), socket.get(), error);
  if (error) return reject(Rejection::busy);
  static_cast<void>(socket.release());
  connections_.push_back(connection);
  asio::co_spawn(context_, serve(std::move(connection)), asio::detached);
}

// If there is no room for the newcomer, closes the connection that has waited longest: one that
// waits for a request, if there is one, or else for its response to be taken, or else for the
// handler. So a handler that does not reply, because a worker hangs, keeps no newcomer out. TCP
// peers never displace a unix peer from its share.
void HttpServer::Impl::make_room(Peer newcomer) {
  const bool is_unix = newcomer == Peer::unix_socket;
  const auto unix_peers = static_cast<std::size_t>(
      std::ranges::count_if(connections_, [](const Shared& each) { return each->is_unix(); }));
  const bool share_taken = !is_unix && connections_.size() - unix_peers >= kMostTcpConnections;
  if (connections_.size() < kMostConnections && !share_taken) return;
  Shared victim;
  for (const Shared& each : connections_) {
    if (share_taken && each->is_unix()) continue;
    const auto rank = [](const Connection& one) { return std::pair(one.state, one.since); };
    if (!victim || rank(*each) < rank(*victim)) victim = each;
  }
  reject(Rejection::replaced);
  victim->state = State::closed;
  victim->stream.close();
  std::erase(connections_, victim);
}

// --- The life of a connection ---

asio::awaitable<void> HttpServer::Impl::serve(Shared connection) {
  Next next = co_await serve_request(*connection, true);
  while (next == Next::request) next = co_await serve_request(*connection, false);
  if (next == Next::close && connection->state != State::closed) co_await linger(*connection);
  connection->stream.close();
  std::erase(connections_, connection);
}

asio::awaitable<HttpServer::Impl::Next> HttpServer::Impl::serve_request(Connection& connection,
                                                                        bool first) {
  connection.enter(State::reading);
  Stream& stream = connection.stream;
  if (!first && connection.buffer.size() == 0) {
    stream.expires_after(kIdleTime);
    connection.idle = true;
    const auto [error, bytes] =
        co_await stream.async_read_some(connection.buffer.prepare(kMostHeaderBytes / 2), kAwait);
    connection.idle = false;
    if (error) co_return co_await refuse(connection, error, true);
    connection.buffer.commit(bytes);
  }
  Parser parser;
  parser.header_limit(kMostHeaderBytes);
  parser.body_limit(kMostBodyBytes);
  stream.expires_after(kHeaderTime);
  const auto [error, bytes] =
      co_await http::async_read_header(stream, connection.buffer, parser, kAwait);
  if (error) co_return co_await refuse(connection, error, false);
  if (const std::string_view fault = fault_of(parser); !fault.empty()) {
    reject(Rejection::malformed);
    const HttpResponse response = make_problem(400, fault);
    co_return co_await write(connection, response, true, false);
  }
  if (!parser.is_done()) {
    const Next read = co_await read_body(connection, parser);
    if (read != Next::request) co_return read;
  }
  const bool keep_alive = parser.get().keep_alive();
  HttpRequest request = request_of(parser, connection.peer);
  const bool with_body = request.method != "HEAD";
  connection.enter(State::answering);
  stream.expires_never();
  const HttpResponse response = co_await answer(request);
  co_return co_await write(connection, response, with_body,
                           keep_alive && accepting_ != Accepting::no_more);
}

asio::awaitable<HttpServer::Impl::Next> HttpServer::Impl::read_body(Connection& connection,
                                                                    Parser& parser) {
  connection.stream.expires_after(kBodyTime);
  if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    const asio::const_buffer text(kContinue.data(), kContinue.size());
    const auto [error, bytes] = co_await asio::async_write(connection.stream, text, kAwait);
    if (error) co_return Next::close_at_once;
  }
  const auto [error, bytes] =
      co_await http::async_read(connection.stream, connection.buffer, parser, kAwait);
  if (error) co_return co_await refuse(connection, error, false);
  co_return Next::request;
}

// What follows a failed read. `idle`: no byte of a request had come.
asio::awaitable<HttpServer::Impl::Next> HttpServer::Impl::refuse(Connection& connection,
                                                                 ErrorCode error, bool idle) {
  if (connection.state == State::closed) co_return Next::close_at_once;
  if (error == beast::error::timeout) {
    if (!idle) reject(Rejection::timeout);
    co_return Next::close_at_once;
  }
  const bool long_header =
      error == http::error::header_limit || error == http::error::buffer_overflow;
  if (long_header || error == http::error::body_limit) {
    reject(Rejection::too_large);
    const HttpResponse response = long_header ? make_problem(431, "The header is over 8 KiB.")
                                              : make_problem(413, "The body is over 64 KiB.");
    co_return co_await write(connection, response, true, false);
  }
  static const auto& of_http = make_error_code(http::error::bad_method).category();
  const bool closed = error == http::error::end_of_stream || error == http::error::partial_message;
  if (error.category() != of_http || closed) co_return Next::close_at_once;
  reject(Rejection::malformed);
  const HttpResponse response = make_problem(400, "This is no valid HTTP.");
  co_return co_await write(connection, response, true, false);
}

// Calls the handler, whose reply resumes the coroutine in a later turn of the loop. The coroutine
// owns what waits, so that any thread can drop the reply at any time.
asio::awaitable<HttpResponse> HttpServer::Impl::answer(HttpRequest& request) {
  const auto waiting = std::make_shared<Waiting>(context_);
  handler_(std::move(request),
           [this, waiter = std::weak_ptr<Waiting>(waiting)](HttpResponse response) {
             asio::post(context_, [waiter, response = std::move(response)]() mutable {
               const auto still = waiter.lock();
               if (still == nullptr) return;
               still->response = std::move(response);
               still->replied.cancel();
             });
           });
  co_await waiting->replied.async_wait(kAwait);
  co_return std::move(waiting->response);
}

asio::awaitable<HttpServer::Impl::Next> HttpServer::Impl::write(Connection& connection,
                                                                const HttpResponse& response,
                                                                bool with_body, bool keep_alive) {
  connection.enter(State::writing);
  const std::string header = response_header(response, keep_alive, std::time(nullptr));
  const bool has_body = with_body && response.body;
  const std::array<asio::const_buffer, 2> parts = {
      asio::buffer(header), has_body ? asio::buffer(*response.body) : asio::const_buffer()};
  connection.stream.expires_after(kWriteTime);
  const auto [error, bytes] = co_await asio::async_write(connection.stream, parts, kAwait);
  if (error == beast::error::timeout) reject(Rejection::timeout);
  if (error) co_return Next::close_at_once;
  co_return keep_alive ? Next::request : Next::close;
}

asio::awaitable<void> HttpServer::Impl::linger(Connection& connection) {
  connection.enter(State::reading);
  Stream& stream = connection.stream;
  ErrorCode ignored;
  stream.socket().shutdown(Protocol::socket::shutdown_send, ignored);
  stream.expires_after(kLingerTime);
  std::size_t left = kMostLingerBytes;
  while (left > 0) {
    connection.buffer.clear();
    const auto [error, bytes] =
        co_await stream.async_read_some(connection.buffer.prepare(kMostBufferBytes), kAwait);
    if (error) co_return;
    left -= std::min(left, bytes);
  }
}

// Without drift. What a standstill has missed is not made up for.
asio::awaitable<void> HttpServer::Impl::run_at_each(Duration interval, std::function<void()> task) {
  asio::steady_timer timer(context_);
  TimePoint next = Clock::now();
  while (true) {
    next = std::max(next + interval, Clock::now());
    timer.expires_at(next);
    co_await timer.async_wait(kAwait);
    task();
  }
}

HttpServer::HttpServer(Handler handler) : impl_(std::make_unique<Impl>(std::move(handler))) {}
HttpServer::~HttpServer() = default;

void HttpServer::accept_from(OwnedFd listener, Peer peer) {
  impl_->accept_from(std::move(listener), peer);
}
void HttpServer::hold() {
  impl_->post([this] { impl_->enter(Impl::Accepting::held); });
}
void HttpServer::release() {
  impl_->post([this] { impl_->enter(Impl::Accepting::yes); });
}
void HttpServer::let_go() {
  impl_->post([this] { impl_->enter(Impl::Accepting::no_more); });
}
void HttpServer::run() { impl_->run(); }
void HttpServer::stop() { impl_->stop(); }
void HttpServer::post(std::function<void()> task) { impl_->post(std::move(task)); }
void HttpServer::repeat(std::chrono::nanoseconds interval, std::function<void()> task) {
  impl_->repeat(to_duration(interval), std::move(task));
}
std::uint64_t HttpServer::rejected(Rejection why) const { return impl_->rejected(why); }

}  // namespace sluice::admin
