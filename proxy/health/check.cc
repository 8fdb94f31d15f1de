#include "proxy/health/check.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>
#include <utility>

#include "iolib/base/text.h"
#include "iolib/reactor/connector.h"
#include "iolib/wire/proxy_header.h"
#include "proxy/upstream/blame.h"

namespace sluice {
namespace {

// How much of an answer is looked at, and how much of a wrong one is shown.
constexpr std::size_t kLongestAnswer = 16 << 10;
constexpr std::size_t kShownAnswer = 64;
// How long the end of a server's stream is waited for.
constexpr Duration kLinger = std::chrono::milliseconds(100);

CheckOutcome failed(const Error& error, bool is_unix) {
  const CheckResult result = is_own_fault(error.code, is_unix) ? CheckResult::undecided
                             : error.code == ETIMEDOUT         ? CheckResult::unanswered
                                                               : CheckResult::failed;
  return {result, error.to_string()};
}

CheckOutcome wrong_answer(std::string_view what, std::string_view answer) {
  if (answer.empty()) return {CheckResult::failed, std::string(what) + " without an answer"};
  return {CheckResult::failed,
          std::string(what) + " after " + one_line(in_quotes(answer.substr(0, kShownAnswer)))};
}

// Receives what is there. Returns the number of bytes, 0 at the end, or -errno.
ssize_t receive_some(int fd, std::string& answer) {
  std::array<char, 4096> buffer;
  ssize_t count = 0;
  do {
    count = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count > 0) answer.append(buffer.data(), static_cast<std::size_t>(count));
  return count < 0 ? -errno : count;
}

// A server that expects a PROXY header would wait for it.
std::string greeting_of(const RouteConfig& route) {
  switch (route.proxy_out) {
    case ProxyOut::v1:
      return wire::local_header_v1();
    case ProxyOut::v2:
      return wire::local_header_v2();
    case ProxyOut::off:
      break;
  }
  return "";
}

// Sends the request and waits for the expected answer.
Task<CheckOutcome> exchange(Reactor& reactor, int fd, const RouteConfig& route,
                            TimePoint deadline) {
  const std::string request = greeting_of(route) + *route.health_send;
  const std::string& expected = *route.health_expect;
  // A new socket has room for the whole request.
  const ssize_t sent = ::send(fd, request.data(), request.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) co_return failed(errno_error("send"), false);
  if (sent != static_cast<ssize_t>(request.size())) {
    co_return CheckOutcome{CheckResult::undecided, "send: no room for the request"};
  }
  std::string answer;
  while (answer.find(expected) == answer.npos) {
    if (answer.size() >= kLongestAnswer) {
      co_return wrong_answer("16KiB without the expected bytes", answer);
    }
    const int events = co_await reactor.readable(fd, deadline);
    if (events == -ETIMEDOUT) {
      co_return CheckOutcome{CheckResult::unanswered, "no answer in time"};
    }
    const ssize_t received = events < 0 ? events : receive_some(fd, answer);
    if (received == -EAGAIN) continue;
    if (received == 0) co_return wrong_answer("the stream ended", answer);
    if (received < 0) co_return failed({static_cast<int>(-received), "receive"}, false);
  }
  co_return CheckOutcome();
}

// Ends the stream, and reads what the server still sends, for a while: a close with unread bytes
// would send a reset, which servers log.
Task<> end_in_order(Reactor& reactor, int fd) {
  static_cast<void>(::shutdown(fd, SHUT_WR));
  const TimePoint until = reactor.now() + kLinger;
  std::string rest;
  while (rest.size() < kLongestAnswer) {
    const ssize_t received = receive_some(fd, rest);
    if (received > 0) continue;
    if (received != -EAGAIN || co_await reactor.readable(fd, until) <= 0) break;
  }
}

}  // namespace

Task<CheckOutcome> check(Reactor& reactor, const Server& server, const RouteConfig& route,
                         TimePoint deadline) {
  const bool exchanges = route.health == Health::exchange;
  AwaitedConnector connector(reactor, {.endpoints = server.endpoints,
                                       .first = server.preferred.load(std::memory_order_relaxed),
                                       .deadline = deadline,
                                       .source = &route.source,
                                       .half_open = !exchanges});
  Result<Connected> connected = co_await connector;
  if (connected.has_error()) {
    co_return failed(connected.error(), server.endpoints.front().is_unix());
  }
  CheckOutcome outcome;
  OwnedFd fd = std::move(connected->fd);
  if (exchanges) {
    outcome = co_await exchange(reactor, fd.get(), route, deadline);
    co_await end_in_order(reactor, fd.get());
  }
  reactor.close(std::move(fd));
  co_return outcome;
}

}  // namespace sluice
