#include "tests/tools/ctl/stub_server.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <utility>

namespace sluice::test {
namespace {

// A request as far as it comes within the patience of a test.
std::string read_request(int fd) {
  std::string request;
  std::size_t wanted = std::string::npos;
  while (request.size() < wanted) {
    const std::string next = receive_text(fd, 1);
    if (next.empty()) break;
    request += next;
    if (wanted == std::string::npos && request.ends_with("\r\n\r\n")) {
      constexpr std::string_view kField = "Content-Length: ";
      const std::size_t at = request.find(kField);
      wanted = request.size();
      if (at != std::string::npos) {
        wanted += std::strtoul(request.c_str() + at + kField.size(), nullptr, 10);
      }
    }
  }
  return request;
}

}  // namespace

StubReply stub_json(std::string body, const std::string& status) {
  return {"HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " +
          std::to_string(body.size()) + "\r\n\r\n" + std::move(body)};
}

StubReply stub_problem(int status, const std::string& detail) {
  const std::string body = R"({"title":"Problem","detail":")" + detail + "\"}";
  return {"HTTP/1.1 " + std::to_string(status) +
          " Problem\r\nContent-Type: application/problem+json\r\nContent-Length: " +
          std::to_string(body.size()) + "\r\n\r\n" + body};
}

StubReply stub_chunked(const std::string& body) {
  constexpr std::size_t kChunk = 7;
  std::string bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::size_t at = 0; at < body.size(); at += kChunk) {
    const std::string part = body.substr(at, kChunk);
    bytes += std::to_string(part.size()) + "\r\n" + part + "\r\n";
  }
  return {bytes + "0\r\n\r\n"};
}

StubServer::StubServer(Handler handler)
    : handler_(std::move(handler)), thread_([this](const std::stop_token& stop) { serve(stop); }) {}

// The thread ends before the members that it uses.
StubServer::~StubServer() {
  thread_.request_stop();
  thread_.join();
}

std::vector<std::string> StubServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<std::string> StubServer::lines() const {
  std::vector<std::string> lines;
  for (const std::string& request : requests()) {
    lines.push_back(request.substr(0, request.find(" HTTP/1.1\r\n")));
  }
  return lines;
}

void StubServer::serve(const std::stop_token& stop) {
  constexpr int kTickMs = 100;
  while (!stop.stop_requested()) {
    std::array<pollfd, 2> polled{{{unix_.get(), POLLIN, 0}, {tcp_.fd.get(), POLLIN, 0}}};
    ::poll(polled.data(), polled.size(), kTickMs);
    for (const pollfd& each : polled) {
      if (each.revents != 0) answer(accept_from(each.fd));
    }
    for (const OwnedFd& fd : dripping_) ::send(fd.get(), " ", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

void StubServer::answer(OwnedFd fd) {
  std::string request = read_request(fd.get());
  const StubReply reply = handler_(request);
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(std::move(request));
  }
  // The tool may refuse the answer before it is whole.
  static_cast<void>(send_all(fd.get(), reply.bytes));
  if (reply.then == StubReply::Then::hold) {
    held_.push_back(std::move(fd));
  } else if (reply.then == StubReply::Then::drip) {
    dripping_.push_back(std::move(fd));
  }
}

}  // namespace sluice::test
