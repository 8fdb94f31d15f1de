// The only file of the tools that includes Boost.Beast, which takes long to compile.
#include "tools/ctl/client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "tools/common/command_line.h"
#include "tools/common/endpoint.h"

namespace sluice::ctl {
namespace {

namespace http = boost::beast::http;
using Parser = http::response_parser<http::string_body>;

constexpr std::size_t kReadBytes = 64 << 10;

std::string in_seconds(Duration patience) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(patience).count()) + "s";
}

// The value of `Host`. The daemon accepts addresses and localhost; other names only where its
// admin-host has them.
std::string host_of(const std::string& address) {
  if (address.starts_with("unix:")) return "localhost";
  return address.starts_with(':') ? "localhost" + address : address;
}

// Parses what it can of `pending`, and removes that. Returns the error, if there is one.
boost::system::error_code feed(Parser& parser, std::string& pending) {
  boost::system::error_code error;
  std::size_t used = 0;
  while (!error && used < pending.size() && !parser.is_done()) {
    used += parser.put(boost::asio::buffer(pending.data() + used, pending.size() - used), error);
  }
  pending.erase(0, used);
  if (error == http::error::need_more) error = {};
  return error;
}

}  // namespace

bool wait_for(int fd, short events, TimePoint deadline) {
  for (;;) {
    const Duration left = deadline - Clock::now();
    if (left <= Duration::zero()) return false;
    pollfd polled{fd, events, 0};
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    if (::poll(&polled, 1, static_cast<int>(ms)) > 0) return true;
  }
}

Client::Client(std::string address, std::string token)
    : address_(std::move(address)), token_(std::move(token)) {
  Result<std::vector<Endpoint>> found = resolve_target(address_);
  if (!found) throw Failure{kNobody, found.error().to_string()};
  endpoints_ = *std::move(found);
}

Answer Client::ask(const Request& request) const {
  const TimePoint deadline = Clock::now() + request.patience;
  const OwnedFd fd = connect(deadline);
  send(fd.get(), request, deadline);
  return receive(fd.get(), request.patience, deadline);
}

std::string Client::header_of(const Request& request) const {
  std::string text = request.method + ' ' + request.target +
                     " HTTP/1.1\r\nHost: " + host_of(address_) +
                     "\r\nUser-Agent: sluice-ctl\r\nConnection: close\r\n";
  if (!token_.empty()) text += "Authorization: Bearer " + token_ + "\r\n";
  if (request.method != "GET") {
    text += "X-Sluice: 1\r\nContent-Type: application/json\r\nContent-Length: " +
            std::to_string(request.body.size()) + "\r\n";
  }
  return text + "\r\n";
}

void Client::fail_to_connect(int error) const {
  const std::string why = "connect " + address_ + ": " + std::strerror(error);
  if (error == EACCES || error == EPERM) {
    throw Failure{kNotAllowed, "not allowed: " + why +
                                   (endpoints_.front().is_unix()
                                        ? "; expected a member of the socket's group, or its owner"
                                        : "")};
  }
  throw Failure{kNobody, "nobody answers: " + why + "; is sluice running with --admin " + address_ +
                             "? --socket names another address"};
}

OwnedFd Client::connect(TimePoint deadline) const {
  int error = 0;
  for (const Endpoint& endpoint : endpoints_) {
    OwnedFd fd;
    error = connect_to(endpoint, fd, deadline);
    if (error == 0) return fd;
  }
  fail_to_connect(error);
}

// The errno of a connect, 0 if it succeeded.
int Client::connect_to(const Endpoint& endpoint, OwnedFd& fd, TimePoint deadline) const {
  for (;;) {
    Result<OwnedFd> opened = open_socket(endpoint, false);
    if (!opened) return opened.error().code;
    fd = *std::move(opened);
    const int begun = begin_connect(fd.get(), endpoint);
    if (begun == EINPROGRESS) {
      return wait_(fd.get(), POLLOUT, deadline) ? connect_outcome(fd.get(), endpoint) : ETIMEDOUT;
    }
    if (begun != EAGAIN) return begun;
    if (Clock::now() >= deadline) return ETIMEDOUT;
    // The backlog of the unix socket is full, which no event reports the end of.
    static_cast<void>(wait_(-1, 0, std::min(deadline, Clock::now() + kBacklogPause)));
  }
}

void Client::send(int fd, const Request& request, TimePoint deadline) const {
  const std::string bytes = header_of(request) + request.body;
  std::string_view text = bytes;
  while (!text.empty()) {
    const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!wait_(fd, POLLOUT, deadline)) {
        throw Failure{kNobody,
                      address_ + " takes no request within " + in_seconds(request.patience)};
      }
    } else if (errno != EINTR) {
      // A daemon that refuses a request may close before it has read it all; its answer is there.
      return;
    }
  }
}

Answer Client::receive(int fd, Duration patience, TimePoint deadline) const {
  Parser parser;
  parser.eager(true);
  parser.header_limit(kMostHeaderBytes);
  parser.body_limit(kMostBodyBytes);
  std::string pending;
  boost::system::error_code error;
  std::vector<char> buffer(kReadBytes);
  while (!parser.is_done() && !error) {
    if (!wait_(fd, POLLIN, deadline)) {
      throw Failure{kNobody, "no answer from " + address_ + " within " + in_seconds(patience)};
    }
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0 && !parser.got_some() && pending.empty()) {
      throw Failure{kNobody, address_ + " ended the connection without an answer"};
    }
    if (got < 0) {
      throw Failure{kRefused, "the answer of " + address_ + " is cut: " + std::strerror(errno)};
    }
    if (got == 0) {
      parser.put_eof(error);
      break;
    }
    pending.append(buffer.data(), static_cast<std::size_t>(got));
    error = feed(parser, pending);
  }
  if (error == http::error::body_limit) {
    throw Failure{kRefused, "the answer of " + address_ + " is over " +
                                std::to_string(kMostBodyBytes >> 20) + "MiB"};
  }
  if (error) {
    throw Failure{kRefused, "the answer of " + address_ + " is no HTTP: " + error.message()};
  }
  const auto& message = parser.get();
  return {message.result_int(), std::string(message[http::field::content_type]),
          std::move(parser.get().body())};
}

}  // namespace sluice::ctl
