#include "iolib/base/endpoint.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <string_view>
#include <utility>

#include "iolib/base/readiness.h"

namespace sluice {
namespace {

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    return (ntohl(v4.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
  }
  if (address->sa_family != AF_INET6) return false;
  sockaddr_in6 v6{};
  std::memcpy(&v6, address, sizeof v6);
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) != 0;
}

// The ports that the kernel chooses from (ip(7)), as they were at the first call; all if it does
// not say.
bool is_ephemeral(std::uint16_t port) {
  static const auto range = [] {
    std::pair<unsigned, unsigned> ports{0, 65535};
    std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> ports.first >> ports.second;
    return ports;
  }();
  return port >= range.first && port <= range.second;
}

template <class Ask>
SocketAddress name_of(int fd, Ask ask) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  auto* address = reinterpret_cast<sockaddr*>(&name);
  return ask(fd, address, &size) == 0 ? SocketAddress::from(address, size) : SocketAddress();
}

bool is_own_peer(int fd, const Endpoint& to) {
  const SocketAddress target = SocketAddress::from(to.data(), to.size_bytes);
  if (to.is_unix() || !is_ephemeral(target.port())) return false;
  const SocketAddress own = local_name(fd);
  return own.port() == target.port() && own == peer_name(fd);
}

// The outcome of a connect that the kernel reports as successful.
int refused_if_own_peer(int fd, const Endpoint& to) {
  if (!is_own_peer(fd, to)) return 0;
  reset_on_close(fd);
  return ECONNREFUSED;
}

}  // namespace

SocketAddress local_name(int fd) { return name_of(fd, ::getsockname); }

SocketAddress peer_name(int fd) { return name_of(fd, ::getpeername); }

Endpoint make_endpoint(const SocketAddress& address) {
  Endpoint endpoint;
  std::memcpy(&endpoint.address, address.data(), address.size_bytes());
  endpoint.size_bytes = address.size_bytes();
  endpoint.text = address.to_string();
  return endpoint;
}

Endpoint make_endpoint(const UnixEndpoint& address) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  // The parser guarantees that the path and its NUL fit. An abstract name begins with a NUL
  // instead, and the length says where it ends.
  std::memcpy(&name.sun_path, address.path.data(), address.path.size());
  if (address.is_abstract()) name.sun_path[0] = '\0';
  Endpoint endpoint;
  std::memcpy(&endpoint.address, &name, sizeof name);
  endpoint.size_bytes =
      address.is_abstract()
          ? static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.path.size())
          : socklen_t{sizeof name};
  endpoint.text = "unix:" + address.path;
  return endpoint;
}

void choose_congestion_control(int fd, const sockaddr* address) {
  static constexpr std::string_view kUnpaced = "reno";
  static const bool needless = [] {
    std::string by_default;
    std::ifstream("/proc/sys/net/ipv4/tcp_congestion_control") >> by_default;
    return by_default == kUnpaced || by_default == "cubic";
  }();
  if (needless || !is_loopback(address)) return;
  static_cast<void>(
      ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kUnpaced.data(), kUnpaced.size()));
}

void set_flag(int fd, int level, int option) {
  const int on = 1;
  static_cast<void>(::setsockopt(fd, level, option, &on, sizeof on));
}

void refuse_descriptors(int fd) {
  constexpr int kPassRights = 83;  // SO_PASSRIGHTS, which Debian 12's headers lack
  const int off = 0;
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, kPassRights, &off, sizeof off));
}

Result<OwnedFd> open_socket(const Endpoint& to, bool choose_congestion) {
  OwnedFd fd(::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("socket");
  if (choose_congestion) choose_congestion_control(fd.get(), to.data());
  set_flag(fd.get(), SOL_SOCKET, SO_OOBINLINE);
  return fd;
}

Result<> bind_source(int fd, const SocketAddress& source, const Endpoint& to) {
  if (source.family() != to.family()) {
    return Error{EAFNOSUPPORT, "connect " + to.text + " from " + source.to_string()};
  }
  set_flag(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
  if (::bind(fd, source.data(), source.size_bytes()) != 0) {
    return errno_error("bind " + source.to_string());
  }
  return {};
}

void set_keepalive_idle(int fd, Duration idle) {
  const auto seconds = static_cast<int>(std::chrono::ceil<std::chrono::seconds>(idle).count());
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds));
}

void set_user_timeout(int fd, Duration timeout) {
  const auto ms =
      static_cast<unsigned>(std::chrono::ceil<std::chrono::milliseconds>(timeout).count());
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms));
}

// Without quick acknowledgments the kernel waits for data that could carry this one.
void hold_half_open(int fd) {
  const int off = 0;
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off));
  reset_on_close(fd);
}

int begin_connect(int fd, const Endpoint& to) {
  if (::connect(fd, to.data(), to.size_bytes) == 0) return refused_if_own_peer(fd, to);
  return errno == EINTR || errno == EINPROGRESS ? connect_outcome(fd, to) : errno;
}

int take_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

// Not by a second connect(2): if the connection was reset meanwhile, that would discard the
// received bytes.
int connect_outcome(int fd, const Endpoint& to) {
  const int events = ready_events(fd, POLLOUT);
  if (events == 0) return EINPROGRESS;
  const int error = (events & (POLLERR | POLLHUP)) != 0 ? take_error(fd) : 0;
  return error == 0 ? refused_if_own_peer(fd, to) : error;
}

// A server that refuses a SYN gives ECONNREFUSED, so a reset came after the connection was made.
bool was_connected(int outcome) {
  return outcome == 0 || outcome == ECONNRESET || outcome == EPIPE;
}

bool is_own_failure(int error) { return error == EADDRNOTAVAIL || error == EAFNOSUPPORT; }

// SIOCOUTQ, see tcp(7).
std::uint64_t send_queue_bytes(int fd) {
  int bytes = 0;
  return ::ioctl(fd, SIOCOUTQ, &bytes) == 0 ? static_cast<std::uint64_t>(bytes) : 0;
}

void reset_on_close(int fd, bool reset) {
  const linger at_once{reset ? 1 : 0, 0};
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
}

}  // namespace sluice
