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

/// Makes a run void: a connection failed, a byte changed, or counts differ.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws a Failure with the call's name and the text of errno.
[[noreturn]] void fail_errno(const std::string& call);

/// Whether it is an address in 127.0.0.0/8.
[[nodiscard]] bool is_loopback(const Endpoint& endpoint);
/// 127.0.0.1:`port`.
[[nodiscard]] Endpoint loopback(std::uint16_t port);

/// A non-blocking listening socket.
[[nodiscard]] Result<OwnedFd> listen_at(const Endpoint& at);
/// A listening socket's address in a form that can be connected to: "127.0.0.1:4711".
[[nodiscard]] std::string local_address(int fd);
/// Whether a connection's peer is on this machine: its address is that of this end, is in
/// 127.0.0.0/8, or is a unix socket's.
[[nodiscard]] bool leads_to_this_machine(int fd);
/// The socket's own port; 0 for a unix socket.
[[nodiscard]] std::uint16_t local_port(int fd);

/// Connects, with TCP_NODELAY, within kConnectTimeoutMs. The socket is blocking, but each call on
/// it returns after kStepMs at the latest. Throws Failure and Interrupted.
[[nodiscard]] OwnedFd connect_to(const Endpoint& to);
/// The same. If `to` is in 127.0.0.0/8, connects from the address `source` (host byte order). The
/// port is chosen at connect time, so that each source has the whole range of ports (ip(7),
/// IP_BIND_ADDRESS_NO_PORT).
[[nodiscard]] OwnedFd connect_from(const Endpoint& to, std::uint32_t source);
inline constexpr int kConnectTimeoutMs = 20'000;
/// The longest uninterrupted wait. After it, every wait checks for an interrupt.
inline constexpr int kStepMs = 100;

/// Sets TCP_NODELAY. Does nothing on a unix socket, which has no such option and needs none.
void set_no_delay(int fd);
/// Sets or clears O_NONBLOCK. Throws Failure.
void set_nonblocking(int fd, bool on = true);

/// Sends as much as the socket takes without waiting, possibly nothing, and returns how much. `who`
/// begins the text of a Failure.
std::size_t send_some(int fd, std::span<const char> data, const char* who);
/// Sends everything. Throws Failure if the socket takes nothing for 20 s, and Interrupted.
void send_all(int fd, std::span<const char> data, const char* who);

/// The outcome of one receive: bytes, nothing yet, or the end of the stream.
struct Received {
  std::size_t bytes = 0;
  bool ended = false;
};
/// Receives without waiting; `flags` as in recv(2).
Received receive_some(int fd, std::span<char> into, const char* who, int flags = 0);

/// Makes a socket blocking, but each call on it returns after kStepMs at the latest.
void set_blocking_steps(int fd);
/// Receives on such a socket, as connect_to() also makes. Waits for at most kStepMs, and then
/// returns nothing. Throws Failure and Interrupted.
Received receive_step(int fd, std::span<char> into, const char* who);
/// Receives one byte from a socket that connect_to() made, within kReceiveTimeoutMs. Throws
/// Failure, also for an end of stream, and Interrupted.
[[nodiscard]] char receive_byte(int fd, const char* who);
/// Waits for the end of the stream in the same way. A byte is a Failure.
void receive_end(int fd, const char* who);
inline constexpr int kReceiveTimeoutMs = 20'000;

/// Reads lines of text, at most kMaxLineBytes long, from a socket. Waits at most `timeout_ms` for a
/// line. Throws Failure, also for an end of stream before a line is complete, and Interrupted.
class LineReader {
 public:
  static constexpr std::size_t kMaxLineBytes = 4 << 20;
  [[nodiscard]] std::string read(int fd, int timeout_ms, const char* who);

 private:
  std::string buffer_;
};

/// `size` pseudo-random bytes. The same seed gives the same bytes.
[[nodiscard]] std::vector<char> random_bytes(std::size_t size, std::uint64_t seed);

}  // namespace sluice::bench
