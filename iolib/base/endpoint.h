#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "iolib/base/address.h"
#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice {

/// An address to connect to, in the form that connect(2) takes.
struct Endpoint {
  sockaddr_storage address{};
  socklen_t size_bytes = 0;
  std::string text;  ///< for log lines; also the identity

  [[nodiscard]] int family() const { return address.ss_family; }
  [[nodiscard]] bool is_unix() const { return family() == AF_UNIX; }
  [[nodiscard]] const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&address); }
  friend bool operator==(const Endpoint& a, const Endpoint& b) { return a.text == b.text; }
};
/// An endpoint of a socket address, or of a unix path or name.
[[nodiscard]] Endpoint make_endpoint(const SocketAddress& address);
[[nodiscard]] Endpoint make_endpoint(const UnixEndpoint& address);

/// Sets reno as the congestion control of a TCP socket if `address`, one of its ends, is on
/// loopback, and the system's default is neither reno nor cubic. Loopback has no bottleneck to
/// probe for, and a control that paces (bbr) only makes both ends idle. Every kernel has reno. No
/// effect on other addresses; errors are ignored.
void choose_congestion_control(int fd, const sockaddr* address);

/// Sets an option of a socket to 1. Errors are ignored.
void set_flag(int fd, int level, int option);

/// Makes sendmsg(2) fail with EPERM where a peer passes descriptors to this unix socket, or to one
/// that it accepts. Otherwise they would be lost without a word. Before Linux 6.16 it has no
/// effect.
void refuse_descriptors(int fd);

/// Opens a stream socket for a connect to `to`, not blocking and close-on-exec. Urgent data stays
/// in line (SO_OOBINLINE). If `choose_congestion`, a TCP socket has the control that
/// choose_congestion_control() sets. Both must be set before the connect: a byte that comes earlier
/// could be lost, and a control that paces leaves its pacing behind.
[[nodiscard]] Result<OwnedFd> open_socket(const Endpoint& to, bool choose_congestion);

/// Gives a socket of open_socket() this local address; the connect chooses the port, so that many
/// connections to different servers can share one. An error of EAFNOSUPPORT means that the address
/// is of another family.
[[nodiscard]] Result<> bind_source(int fd, const SocketAddress& source, const Endpoint& to);

/// How long a TCP connection may be idle until its peer is probed, if it has keep-alives. At most
/// 32,767 s. Errors are ignored.
void set_keepalive_idle(int fd, Duration idle);
/// How long what a TCP socket has sent may stay without an acknowledgment until the connection
/// fails (TCP_USER_TIMEOUT). Errors are ignored.
void set_user_timeout(int fd, Duration timeout);

/// Makes a TCP socket hold back the acknowledgment that ends the handshake of its connect, and its
/// close send a reset. A socket that connects and closes at once then never reaches the server's
/// accept queue. The kernel sends the acknowledgment after about 200 ms.
void hold_half_open(int fd);

/// Begins a connect; to this machine it usually completes at once. Returns one of:
/// - 0: connected.
/// - EINPROGRESS: the connect is pending until the socket is writable; then ask connect_outcome().
/// - EAGAIN: the backlog of a unix socket is full. No event reports free room: retry after
///   kBacklogPause.
/// - another errno: the connect failed; the caller closes the socket.
///
/// A socket that connected to itself counts as ECONNREFUSED. The kernel can choose the target port
/// as the source port if nothing listens on a local port, and the two SYNs that cross then make a
/// connection.
[[nodiscard]] int begin_connect(int fd, const Endpoint& to);
/// The pause before a retry when the backlog of a unix socket is full.
inline constexpr Duration kBacklogPause = std::chrono::milliseconds(5);
/// The outcome of a pending connect, as begin_connect() returns it.
[[nodiscard]] int connect_outcome(int fd, const Endpoint& to);
/// Whether `outcome` says that the connect succeeded. True also if the connection was reset since:
/// a reader then still finds the bytes before the reset, and the reset.
[[nodiscard]] bool was_connected(int outcome);
/// Whether a connect failed for a reason of this machine: it has no port, or no address of that
/// family.
[[nodiscard]] bool is_own_failure(int error);
/// Takes the pending error of the socket (SO_ERROR), which the kernel reports once: an errno, or 0.
[[nodiscard]] int take_error(int fd);

/// The addresses of a connected socket's two ends. Unnamed if it is a unix socket, or no longer
/// connected.
[[nodiscard]] SocketAddress local_name(int fd);
[[nodiscard]] SocketAddress peer_name(int fd);

/// The bytes that a TCP socket has sent or queued and the peer has not acknowledged; an
/// unacknowledged FIN adds one. 0 for sockets that cannot tell.
[[nodiscard]] std::uint64_t send_queue_bytes(int fd);

/// Sets whether a close of the socket resets its connection, also when the kernel closes it at
/// process exit (SO_LINGER with 0 s). Sockets inherit it from their listener.
void reset_on_close(int fd, bool reset = true);

}  // namespace sluice
