#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "iolib/base/address.h"
#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice {

/// Where something listens, as connect(2) takes it.
struct Endpoint {
  sockaddr_storage address{};
  socklen_t size_bytes = 0;
  std::string text;  ///< for the log

  [[nodiscard]] int family() const { return address.ss_family; }
  [[nodiscard]] bool is_unix() const { return family() == AF_UNIX; }
  [[nodiscard]] const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&address); }
  friend bool operator==(const Endpoint& a, const Endpoint& b) { return a.text == b.text; }
};
[[nodiscard]] Endpoint make_endpoint(const SocketAddress& address);
[[nodiscard]] Endpoint make_endpoint(const UnixEndpoint& address);

/// Lets a TCP socket, of which one end is at `address`, use the congestion control that suits it:
/// on loopback there is no bottleneck to probe for, and one that paces (bbr) only makes both ends
/// idle; reno, which every kernel has, does not. No effect elsewhere.
void choose_congestion_control(int fd, const sockaddr* address);

/// A stream socket that can be connected to `to`; TCP without delays, with keep-alives, and if
/// asked for with the congestion control that suits it. Urgent data keeps its place in the stream.
[[nodiscard]] Result<OwnedFd> open_socket(const Endpoint& to, bool choose_congestion);

/// Begins a connect, and on the same machine usually ends it: 0, EINPROGRESS while it is under way
/// (until the socket is writable), or why it failed. EAGAIN: the backlog of a unix socket is full,
/// and nobody tells when it has room again. A socket that has become its own peer was refused, and
/// is to be closed: towards a local port where nobody listens, the kernel may choose that very port
/// as the source, and the two SYNs that cross make a connection.
[[nodiscard]] int begin_connect(int fd, const Endpoint& to);
/// After which it is tried again where a unix socket's backlog is full.
inline constexpr Duration kBacklogPause = std::chrono::milliseconds(5);
/// What has become of a connect that was under way, in the same words.
[[nodiscard]] int connect_outcome(int fd);
/// Whether the outcome of a connect is that it succeeded, be it that the connection has been reset
/// since: who reads finds what came before the reset, and its end.
[[nodiscard]] bool was_connected(int outcome);
/// What has broken the socket's connection, which it tells once: an errno; 0 if nothing has.
[[nodiscard]] int take_error(int fd);

/// What a TCP socket has sent and the far end's TCP not acknowledged, a FIN as one byte more; 0
/// where nobody counts.
[[nodiscard]] std::uint64_t send_queue_bytes(int fd);

/// Whether closing the socket resets its connection, also where the kernel closes it because the
/// process ended. Of a listener: what every socket that it accepts begins with.
void reset_on_close(int fd, bool reset = true);

}  // namespace sluice
