#include "tools/bench/net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <utility>

#include "iolib/base/address.h"
#include "tools/bench/interrupt.h"

namespace sluice::bench {
namespace {

using std::chrono::steady_clock;

constexpr int kBacklog = 4096;
constexpr int kSendTimeoutMs = 20'000;

void bind_to(int fd, std::uint32_t source) {
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(source);
  if (::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0 ||
      ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fail_errno("bind source");
  }
}

int wait_for(int fd, short events, int timeout_ms) {
  pollfd polled{fd, events, 0};
  int left = std::max(timeout_ms, 0);
  do {  // at least once, so that data that is already there is never too late
    check_interrupted();
    const int ready = ::poll(&polled, 1, std::min(left, kStepMs));
    if (ready > 0) return ready;
    left -= kStepMs;
  } while (left > 0);
  return 0;
}

Received receive(int fd, std::span<char> into, const char* who, int flags) {
  const ssize_t n = ::recv(fd, into.data(), into.size(), flags);
  if (n > 0) return {static_cast<std::size_t>(n), false};
  if (n == 0) return {0, true};
  if (errno == EAGAIN || errno == EINTR) return {};
  fail_errno(std::string(who) + ": recv");
}

void set_step_timeouts(int fd) {
  constexpr timeval kStep{.tv_sec = 0, .tv_usec = kStepMs * 1000L};
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kStep, sizeof kStep);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kStep, sizeof kStep);
}

// Receives one byte, or the end of the stream.
Received receive_in_time(int fd, char& byte, const char* who) {
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(kReceiveTimeoutMs);
  for (;;) {
    const bool is_late = steady_clock::now() > deadline;
    const Received got =
        is_late ? receive_some(fd, {&byte, 1}, who) : receive_step(fd, {&byte, 1}, who);
    if (got.bytes > 0 || got.ended) return got;
    if (is_late) throw Failure(std::string(who) + ": no answer");
  }
}

}  // namespace

void fail_errno(const std::string& call) {
  const int error = errno;
  throw Failure(call + ": " + std::strerror(error));
}

bool is_loopback(const Endpoint& endpoint) {
  if (endpoint.family() != AF_INET) return false;
  const auto& address = reinterpret_cast<const sockaddr_in&>(endpoint.address);
  return ntohl(address.sin_addr.s_addr) >> 24U == 127;
}

Endpoint loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Endpoint endpoint{.size_bytes = sizeof address, .text = "127.0.0.1:" + std::to_string(port)};
  std::memcpy(&endpoint.address, &address, sizeof address);
  return endpoint;
}

Result<OwnedFd> listen_at(const Endpoint& at) {
  OwnedFd fd(::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("socket");
  if (at.family() != AF_UNIX) {
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  }
  if (::bind(fd.get(), at.data(), at.size_bytes) != 0) return errno_error("bind " + at.text);
  if (::listen(fd.get(), kBacklog) != 0) return errno_error("listen " + at.text);
  return fd;
}

std::string local_address(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    fail_errno("getsockname");
  }
  if (address.ss_family == AF_UNIX) {
    sockaddr_un name{};
    std::memcpy(&name, &address, sizeof name);
    const std::size_t bytes = size - offsetof(sockaddr_un, sun_path);
    if (bytes == 0 || name.sun_path[0] != '\0') return std::string("unix:") + name.sun_path;
    return "unix:@" + std::string(&name.sun_path[1], bytes - 1);
  }
  return SocketAddress::from(reinterpret_cast<const sockaddr*>(&address), size).to_string();
}

bool leads_to_this_machine(int fd) {
  const auto host = [&](auto get_name) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (get_name(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) fail_errno("getsockname");
    if (address.ss_family == AF_UNIX) return std::string();
    const auto at = SocketAddress::from(reinterpret_cast<const sockaddr*>(&address), size);
    const std::string text = at.to_string();
    return text.substr(0, text.rfind(':'));
  };
  const std::string there = host(::getpeername);
  return there.starts_with("127.") || there == host(::getsockname);
}

std::uint16_t local_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    fail_errno("getsockname");
  }
  return SocketAddress::from(reinterpret_cast<const sockaddr*>(&address), size).port();
}

OwnedFd connect_to(const Endpoint& to) { return connect_from(to, 0); }

OwnedFd connect_from(const Endpoint& to, std::uint32_t source) {
  OwnedFd fd(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) fail_errno("socket");
  set_no_delay(fd.get());
  if (source != 0 && is_loopback(to)) bind_to(fd.get(), source);
  // These time-outs bound connect, send and recv.
  set_step_timeouts(fd.get());
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(kConnectTimeoutMs);
  // Calling connect() again continues the wait (in the kernel's inet_stream_connect()). Its errors
  // after a time-out are in socket(7), and in unix(7) for a unix socket whose listener has no room.
  // It returns EINTR if the process was stopped (signal(7)).
  for (;;) {
    const bool is_late = steady_clock::now() > deadline;
    if (::connect(fd.get(), to.data(), to.size_bytes) == 0 || errno == EISCONN) break;
    const int error = errno;
    check_interrupted();
    const bool waits =
        error == EINPROGRESS || error == EALREADY || error == EAGAIN || error == EINTR;
    if (waits && !is_late) continue;
    errno = waits ? ETIMEDOUT : error;
    fail_errno("connect " + to.text);
  }
  return fd;
}

void set_no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void set_nonblocking(int fd, bool on) {
  const int flags = ::fcntl(fd, F_GETFL);
  const int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (flags < 0 || ::fcntl(fd, F_SETFL, wanted) != 0) fail_errno("fcntl");
}

std::size_t send_some(int fd, std::span<const char> data, const char* who) {
  const ssize_t n = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n >= 0) return static_cast<std::size_t>(n);
  if (errno == EAGAIN || errno == EINTR) return 0;
  fail_errno(std::string(who) + ": send");
}

void send_all(int fd, std::span<const char> data, const char* who) {
  while (!data.empty()) {
    const std::size_t sent = send_some(fd, data, who);
    data = data.subspan(sent);
    if (sent == 0 && wait_for(fd, POLLOUT, kSendTimeoutMs) == 0) {
      throw Failure(std::string(who) + ": the other end does not read");
    }
  }
}

void set_blocking_steps(int fd) {
  set_nonblocking(fd, false);
  set_step_timeouts(fd);
}

Received receive_some(int fd, std::span<char> into, const char* who, int flags) {
  return receive(fd, into, who, MSG_DONTWAIT | flags);
}

Received receive_step(int fd, std::span<char> into, const char* who) {
  const Received got = receive(fd, into, who, 0);
  if (got.bytes == 0) check_interrupted();
  return got;
}

char receive_byte(int fd, const char* who) {
  char byte = 0;
  if (receive_in_time(fd, byte, who).ended) {
    throw Failure(std::string(who) + ": closed before the answer");
  }
  return byte;
}

void receive_end(int fd, const char* who) {
  char byte = 0;
  if (!receive_in_time(fd, byte, who).ended) {
    throw Failure(std::string(who) + ": bytes arrived that were never sent");
  }
}

std::string LineReader::read(int fd, int timeout_ms, const char* who) {
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (buffer_.size() > kMaxLineBytes) throw Failure(std::string(who) + ": the line is too long");
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now());
    if (wait_for(fd, POLLIN, static_cast<int>(left.count())) == 0) {
      throw Failure(std::string(who) + ": no answer");
    }
    char chunk[16 << 10];
    const Received got = receive_some(fd, chunk, who);
    if (got.ended) throw Failure(std::string(who) + ": closed by the other end");
    buffer_.append(chunk, got.bytes);
  }
}

std::vector<char> random_bytes(std::size_t size, std::uint64_t seed) {
  std::vector<char> bytes(size);
  std::uint64_t state = seed * 2 + 1;
  for (std::size_t at = 0; at < size;) {
    // xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators".
    state ^= state >> 12U;
    state ^= state << 25U;
    state ^= state >> 27U;
    const std::uint64_t word = state * 0x2545f4914f6cdd1dU;
    const std::size_t part = std::min(sizeof word, size - at);
    std::memcpy(bytes.data() + at, &word, part);
    at += part;
  }
  return bytes;
}

}  // namespace sluice::bench
