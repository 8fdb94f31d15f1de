#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>

#include "iolib/base/owned_fd.h"
#include "tests/support/pattern.h"
#include "tests/support/settings.h"

namespace sluice::test {

/// The options of a new socket; 0 leaves them to the kernel. Small buffers cause back-pressure.
/// They need small segments as well, since a window below loopback's 64 KiB segment opens only by
/// timers.
struct SocketOptions {
  int send_buffer_bytes = 0;
  int receive_buffer_bytes = 0;
  int segment_bytes = 0;  ///< of received data; an accepted socket has its listener's
  bool no_delay = true;
};

/// The segment size on Ethernet.
inline constexpr int kEthernetSegmentBytes = 1448;

/// A listening socket on loopback; the kernel chooses its port.
struct Listener {
  OwnedFd fd;
  std::uint16_t port = 0;
};

/// Every function here throws std::system_error if the system refuses what a test relies on.
/// Sockets are blocking; poll bounds the waits.
[[nodiscard]] Listener listen_tcp(int backlog = 4096, SocketOptions options = {},
                                  int family = AF_INET);
/// A bound socket whose port refuses connections until start_listening(). Nothing else gets the
/// port.
[[nodiscard]] Listener bind_tcp(SocketOptions options = {}, int family = AF_INET);
void start_listening(const Listener& listener, int backlog = 4096);
/// `path`: a path, or `@` and an abstract name.
[[nodiscard]] OwnedFd listen_unix(const std::string& path);

[[nodiscard]] OwnedFd connect_tcp(std::uint16_t port, SocketOptions options = {},
                                  int family = AF_INET);
[[nodiscard]] OwnedFd connect_unix(const std::string& path);
/// The errno of a connect() to loopback; 0 if it was accepted.
[[nodiscard]] int try_connect(std::uint16_t port);

/// The next connection of a listener.
[[nodiscard]] OwnedFd accept_from(int listener, std::chrono::nanoseconds timeout = kPatience,
                                  SocketOptions options = {});
/// True if bytes, a connection or an end are there within the time.
[[nodiscard]] bool readable_within(int fd, std::chrono::nanoseconds timeout);
[[nodiscard]] bool writable_within(int fd, std::chrono::nanoseconds timeout);

/// A port of loopback that is free now, below those that the kernel hands out. For programs that
/// cannot report which port the kernel chose.
[[nodiscard]] std::uint16_t free_port();
[[nodiscard]] std::uint16_t local_port(int fd);

/// Ends the connection with a reset, whatever is still queued.
void reset(OwnedFd fd);
/// Sends FIN; receiving goes on.
void finish_sending(int fd);
void set_nonblocking(int fd, bool enabled);
/// Bytes sent that the peer's kernel has not acknowledged (SIOCOUTQ).
[[nodiscard]] std::size_t unacknowledged_bytes(int fd);

/// The state of a stream after a receive.
enum class Ending { open, eof, reset, timed_out };
void PrintTo(Ending ending, std::ostream* out);  ///< for GoogleTest's messages

struct Received {
  std::size_t bytes = 0;
  Ending ending = Ending::open;
};
/// Waits for bytes or an end. A reset is ECONNRESET or EPIPE.
[[nodiscard]] Received receive_some(int fd, std::span<std::byte> into,
                                    std::chrono::nanoseconds timeout = kPatience);

/// Sends all bytes; false if the connection broke or nothing could be sent for `timeout`.
[[nodiscard]] bool send_all(int fd, std::span<const std::byte> bytes,
                            std::chrono::nanoseconds timeout = kPatience);
[[nodiscard]] bool send_all(int fd, std::string_view text);
/// Sends the pattern's bytes from `offset` to `offset + size_bytes`.
[[nodiscard]] bool send_pattern(int fd, Pattern pattern, std::uint64_t offset,
                                std::uint64_t size_bytes);
/// Sends until every buffer up to the reader is full, wherever it is: until nothing was accepted
/// for `lull`. Sends the pattern's bytes from `offset` on. Returns the number of bytes sent.
std::uint64_t send_until_full(int fd, Pattern pattern, std::uint64_t limit_bytes,
                              std::chrono::milliseconds lull, std::uint64_t offset = 0);

struct ReadOptions {
  std::uint64_t stop_after_bytes = ~std::uint64_t{0};
  std::size_t read_bytes = 1 << 18;
  std::chrono::nanoseconds timeout = kPatience;  ///< without a byte
};
/// Receives into `checker` until an end, a lull of `timeout`, or the requested number of bytes.
Ending read_pattern(int fd, PatternChecker& checker, ReadOptions options = {});

/// Receives text until `count` bytes, the end or the time-out.
[[nodiscard]] std::string receive_text(int fd, std::size_t count,
                                       std::chrono::nanoseconds timeout = kPatience);

}  // namespace sluice::test
