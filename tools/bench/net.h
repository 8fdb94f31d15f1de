#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "tools/common/endpoint.h"

namespace sluice::bench {

/// A run that is void: a connection that failed, a byte that changed, a count that differs.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws a Failure naming the call and what errno says.
[[noreturn]] void fail_errno(const std::string& call);

/// It is an address of 127.0.0.0/8.
[[nodiscard]] bool is_loopback(const Endpoint& endpoint);
/// 127.0.0.1:`port`.
[[nodiscard]] Endpoint loopback(std::uint16_t port);

/// A non-blocking listening socket.
[[nodiscard]] Result<OwnedFd> listen_at(const Endpoint& at);
/// The address that a listening socket has, as it can be connected to: "127.0.0.1:4711".
[[nodiscard]] std::string local_address(int fd);
/// Whether the other end of a connection has an address of this machine: the one of this end, or
/// of 127.0.0.0/8, or a path.
[[nodiscard]] bool leads_to_this_machine(int fd);
/// Its port; 0 for a unix socket.
[[nodiscard]] std::uint16_t local_port(int fd);

/// Connects, waiting at most kConnectTimeoutMs, with TCP_NODELAY; blocking afterwards, in calls of
/// at most kStepMs. Throws Failure, and Interrupted.
[[nodiscard]] OwnedFd connect_to(const Endpoint& to);
/// The same; where `to` is of 127.0.0.0/8, from `source` (host order), its port chosen at connect,
/// so that every source has the whole range of ports (ip(7), IP_BIND_ADDRESS_NO_PORT).
[[nodiscard]] OwnedFd connect_from(const Endpoint& to, std::uint32_t source);
inline constexpr int kConnectTimeoutMs = 20'000;
/// Every wait is made of steps so long, so that somebody who interrupts does not wait for it.
inline constexpr int kStepMs = 100;

/// TCP_NODELAY, which a unix socket does not know and does not need.
void set_no_delay(int fd);
void set_nonblocking(int fd, bool on = true);

/// Sends what the socket takes without waiting, maybe nothing; `who` begins a Failure's reason.
std::size_t send_some(int fd, std::span<const char> data, const char* who);
/// Sends all of it, waiting at most so long for room.
void send_all(int fd, std::span<const char> data, const char* who);

/// The outcome of one receive: bytes, or that there were none yet, or the end of the stream.
struct Received {
  std::size_t bytes = 0;
  bool ended = false;
};
/// Receives without waiting; `flags` as in recv(2).
Received receive_some(int fd, std::span<char> into, const char* who, int flags = 0);

/// Receives one byte of a socket from connect_to(), which is blocking, waiting at most
/// kReceiveTimeoutMs for it. Throws Failure, an end of stream included, and Interrupted.
[[nodiscard]] char receive_byte(int fd, const char* who);
/// The same for the end of the stream; a byte is a Failure.
void receive_end(int fd, const char* who);
inline constexpr int kReceiveTimeoutMs = 20'000;

/// Lines of text over a socket, waiting at most `timeout_ms` for one; no line is longer than
/// kMaxLineBytes. An end of stream before a line is a Failure.
class LineReader {
 public:
  static constexpr std::size_t kMaxLineBytes = 4 << 20;
  [[nodiscard]] std::string read(int fd, int timeout_ms, const char* who);

 private:
  std::string buffer_;
};

/// `size` pseudo-random bytes, the same for the same seed.
[[nodiscard]] std::vector<char> random_bytes(std::size_t size, std::uint64_t seed);

}  // namespace sluice::bench
