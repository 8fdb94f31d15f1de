#include "proxy/listen/listen_sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <span>
#include <utility>

#include "proxy/listen/unix_socket.h"
#include "proxy/upstream/resolve.h"
#include "proxy/upstream/route.h"

namespace sluice {
namespace {

// The owner and the group may use the admin thread's sockets.
constexpr mode_t kAdminMode = 0660;

enum class Sharing { alone, reuse_port };

void set_option(int fd, int level, int option, int value) {
  static_cast<void>(::setsockopt(fd, level, option, &value, sizeof value));
}

// Sets the options that accepted sockets inherit, so that no connection pays for them.
void set_inherited_options(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  // Urgent data stays in line.
  set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
}

// An address to bind to, and whether an IPv6 socket there also accepts IPv4.
struct Place {
  SocketAddress address;
  bool both_families = false;
};

Result<OwnedFd> bind_tcp(const Place& place, Sharing sharing, Congestion congestion) {
  const SocketAddress& address = place.address;
  const std::string name = address.to_string();
  OwnedFd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("socket for " + name);
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (sharing == Sharing::reuse_port) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (address.family() == AF_INET6) {
    set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, place.both_families ? 0 : 1);
  }
  set_inherited_options(fd.get());
  if (congestion == Congestion::automatic) choose_congestion_control(fd.get(), address.data());
  if (::bind(fd.get(), address.data(), address.size_bytes()) != 0) {
    return errno_error("bind " + name);
  }
  return fd;
}

Result<SocketAddress> local_address(int fd) {
  sockaddr_storage local{};
  socklen_t size = sizeof local;
  auto* address = reinterpret_cast<sockaddr*>(&local);
  if (::getsockname(fd, address, &size) != 0) return errno_error("getsockname");
  return SocketAddress::from(address, size);
}

SocketAddress any_v4(std::uint16_t port) {
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(port);
  return SocketAddress(any);
}

SocketAddress any_v6(std::uint16_t port) {
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port);
  return SocketAddress(any);
}

// Whether this machine lacks the address or its family.
bool is_lacking(const Error& error) {
  return error.code == EADDRNOTAVAIL || error.code == EAFNOSUPPORT;
}

// Opens `:PORT` with `open`: one socket for IPv6 and IPv4, or IPv4 alone if there is no IPv6.
template <typename Open>
Result<> open_any(std::uint16_t port, const Open& open) {
  const Result<> both = open(Place{any_v6(port), true});
  if (both.has_value() || both.error().code != EAFNOSUPPORT) return both;
  return open(Place{any_v4(port)});
}

// Opens all addresses of a name with `open`, except those that this machine lacks, if it has at
// least one. (A hosts file can list ::1 while IPv6 is off.) Returns the error of each address
// passed over.
template <typename Open>
Result<std::vector<Error>> open_name(const HostPort& name, const Open& open) {
  const Result<std::vector<SocketAddress>> addresses = resolve(name, true);
  if (addresses.has_error()) return addresses.error();
  std::vector<Error> lacking;
  for (const SocketAddress& each : *addresses) {
    const Result<> opened = open(Place{each});
    if (opened.has_value()) continue;
    if (!is_lacking(opened.error())) return opened.error();
    lacking.push_back(opened.error());
  }
  if (lacking.size() == addresses->size() && !lacking.empty()) return lacking.front();
  return lacking;
}

// Opens everything that a listening HOST:PORT means with `open`. Returns the error of each address
// passed over.
template <typename Open>
Result<std::vector<Error>> open_each(const HostPort& address, const Open& open) {
  const Result<SocketAddress> numeric = numeric_address(address);
  if (!address.host.empty() && numeric.has_error()) return open_name(address, open);
  const Result<> opened =
      address.host.empty() ? open_any(address.port, open) : open(Place{*numeric});
  if (opened.has_error()) return opened.error();
  return std::vector<Error>();
}

// Fails if another process listens at `place`. The probe binds without SO_REUSEPORT; with it, a
// second daemon of the same user would bind without an error. Sockets that are bound but do not
// listen do not conflict.
Result<> find_free(const Place& place) {
  const Result<OwnedFd> probe = bind_tcp(place, Sharing::alone, Congestion::system);
  if (probe.has_error()) return probe.error();
  return {};
}

// What the sockets of an address are for.
struct Use {
  std::size_t route = ListenSocket::kNoRoute;
  Congestion congestion = Congestion::system;
  bool sink = false;
  std::optional<mode_t> mode = {};  // of a path; nullopt: as the umask has it
};

// Binds addresses: a TCP address once for each worker.
class Opener {
 public:
  explicit Opener(std::size_t workers) : workers_(workers) {}

  Result<> open(const ListenAddress& address, const Use& use) {
    const auto* path = std::get_if<UnixEndpoint>(&address);
    return path != nullptr ? open_unix(*path, use) : open_tcp(std::get<HostPort>(address), use);
  }
  [[nodiscard]] ListenSockets& opened() { return opened_; }

 private:
  Result<> open_tcp(const HostPort& address, const Use& use);
  Result<> open_group(Place place, const Use& use);
  Result<> open_unix(const UnixEndpoint& address, const Use& use);

  std::size_t workers_;
  std::size_t unix_sockets_ = 0;
  ListenSockets opened_;
};

// Binds one socket for each worker to one address.
Result<> Opener::open_group(Place place, const Use& use) {
  if (place.address.port() != 0) {
    if (Result<> found = find_free(place); found.has_error()) return found;
  }
  for (std::size_t worker = 0; worker < workers_; ++worker) {
    Result<OwnedFd> fd = bind_tcp(place, Sharing::reuse_port, use.congestion);
    if (fd.has_error()) return fd.error();
    // Set before any client connects: a killed sink must never seem to confirm what it received.
    if (use.sink) reset_on_close(fd->get());
    if (worker == 0) {
      Result<SocketAddress> local = local_address(fd->get());
      if (local.has_error()) return local.error();
      place.address = *local;  // the chosen port, if it was 0, for the other sockets
      opened_.bound.push_back({use.route, place.address.to_string()});
    }
    ListenSocket& socket = opened_.sockets.emplace_back();
    socket.fd = std::move(*fd);
    socket.route = use.route;
    socket.worker = worker;
  }
  return {};
}

Result<> Opener::open_tcp(const HostPort& address, const Use& use) {
  const Result<std::vector<Error>> lacking =
      open_each(address, [this, &use](const Place& place) { return open_group(place, use); });
  if (lacking.has_error()) return lacking.error();
  for (const Error& each : *lacking) {
    opened_.passed_over.push_back({use.route, to_string(ListenAddress(address)), each.to_string()});
  }
  return {};
}

Result<> Opener::open_unix(const UnixEndpoint& address, const Use& use) {
  Result<OwnedFd> fd = open_unix_socket(address);
  if (fd.has_error()) return fd.error();
  opened_.bound.push_back({use.route, make_endpoint(address).text});
  ListenSocket& socket = opened_.sockets.emplace_back();
  socket.fd = *std::move(fd);
  socket.unix_address = address;
  socket.mode = use.mode;
  socket.route = use.route;
  socket.worker = unix_sockets_++ % workers_;
  socket.kind = Leg::Kind::unix_stream;
  return {};
}

using Group = std::span<ListenSocket>;

// Makes the sockets of one address listen, one for each worker. First checks again that no other
// process has begun to listen there since they were bound.
Result<> listen_tcp(Group group, const std::vector<int>& cpus) {
  const Result<SocketAddress> address = local_address(group.front().fd.get());
  if (address.has_error()) return address.error();
  int v6_alone = 0;
  socklen_t size = sizeof v6_alone;
  static_cast<void>(
      ::getsockopt(group.front().fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_alone, &size));
  if (Result<> found = find_free(Place{*address, v6_alone == 0}); found.has_error()) return found;
  for (const ListenSocket& each : group) {
    if (::listen(each.fd.get(), kListenBacklog) != 0) {
      return errno_error("listen " + address->to_string());
    }
  }
  // Without steering, the kernel's hash spreads the connections, which is correct as well. Steering
  // needs a distinct CPU for each worker.
  const std::set<int> distinct(cpus.begin(), cpus.end());
  if (group.size() == 1 || distinct.size() != group.size()) return {};
  if (steer_by_cpu(group.back().fd.get(), cpus).has_error()) return {};
  const auto steering = std::make_shared<Steering>(address->to_string(), group.size());
  for (ListenSocket& each : group) each.steering = steering;
  return {};
}

bool is_any(const SocketAddress& address) {
  return address == any_v4(address.port()) || address == any_v6(address.port());
}

// Whether a listener on one of the two prevents a listener on the other.
bool exclude_each_other(const Place& a, const Place& b) {
  if (a.address.port() != b.address.port() || a.address.port() == 0) return false;
  if (a.address.family() != b.address.family()) return a.both_families || b.both_families;
  return a.address == b.address || is_any(a.address) || is_any(b.address);
}

// Checks each listener as Opener would bind it. Leaves nothing behind.
class Prober {
 public:
  Result<> probe(const ListenAddress& address) {
    const auto* path = std::get_if<UnixEndpoint>(&address);
    return path != nullptr ? probe_unix(*path) : probe_tcp(std::get<HostPort>(address));
  }
  [[nodiscard]] const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  Result<> probe_unix(const UnixEndpoint& address);
  Result<> probe_tcp(const HostPort& address);
  Result<> probe_place(const Place& place);

  std::vector<Place> places_;
  std::vector<std::string> remarks_;
};

Result<> Prober::probe_unix(const UnixEndpoint& address) {
  const Result<bool> in_use = probe_unix_socket(address);
  if (in_use.has_error()) return in_use.error();
  if (*in_use) remarks_.push_back("unix:" + address.path + " is in use at the moment");
  return {};
}

Result<> Prober::probe_tcp(const HostPort& address) {
  const Result<std::vector<Error>> lacking =
      open_each(address, [this](const Place& place) { return probe_place(place); });
  if (lacking.has_error()) return lacking.error();
  for (const Error& each : *lacking) {
    remarks_.push_back(to_string(ListenAddress(address)) +
                       ": one address is passed over: " + each.to_string());
  }
  return {};
}

// Compares the addresses of the configuration itself, because the probe sockets do not listen and
// so do not conflict.
Result<> Prober::probe_place(const Place& place) {
  const std::string name = place.address.to_string();
  for (const Place& other : places_) {
    if (!exclude_each_other(place, other)) continue;
    return Error{EADDRINUSE, "bind " + name + " beside " + other.address.to_string()};
  }
  const Result<OwnedFd> bound = bind_tcp(place, Sharing::alone, Congestion::system);
  const bool in_use = bound.has_error() && bound.error().code == EADDRINUSE;
  if (bound.has_error() && !in_use) return bound.error();
  if (in_use) remarks_.push_back(name + " is in use at the moment");
  places_.push_back(place);
  return {};
}

}  // namespace

Result<ListenSockets> open_listeners(const Config& config, std::size_t workers) {
  Opener opener(workers);
  for (std::size_t index = 0; index < config.routes.size(); ++index) {
    const RouteConfig& route = config.routes[index];
    for (const ListenAddress& address : route.listen) {
      const Result<> opened = opener.open(address, {index, route.congestion, is_sink(route)});
      if (opened.has_error()) return opened.error();
    }
  }
  return std::move(opener.opened());
}

Result<ListenSockets> open_admin_listeners(const Config& config) {
  Opener opener(1);
  for (const ListenAddress& address : config.admin) {
    const Result<> opened = opener.open(address, {.mode = kAdminMode});
    if (opened.has_error()) return opened.error();
  }
  return std::move(opener.opened());
}

Result<> ListenSockets::listen(const std::vector<int>& cpus) {
  for (auto each = sockets.begin(); each != sockets.end();) {
    const auto begins = [](const ListenSocket& socket) {
      return socket.worker == 0 || socket.unix_address;
    };
    const auto end = std::find_if(each + 1, sockets.end(), begins);
    Result<> listening = each->unix_address ? listen_unix(each->fd.get(), *each->unix_address,
                                                          each->mode, unix_paths)
                                            : listen_tcp(Group(each, end), cpus);
    if (listening.has_error()) return listening;
    each = end;
  }
  return {};
}

void ListenSockets::remove_unix_paths() {
  for (const SocketPath& each : std::exchange(unix_paths, {})) {
    unlink_if_same(AT_FDCWD, each.path, each.socket);
  }
}

Result<std::vector<std::string>> probe_listeners(const Config& config) {
  Prober prober;
  for (const RouteConfig& route : config.routes) {
    for (const ListenAddress& address : route.listen) {
      if (Result<> probed = prober.probe(address); probed.has_error()) return probed.error();
    }
  }
  for (const ListenAddress& address : config.admin) {
    if (Result<> probed = prober.probe(address); probed.has_error()) return probed.error();
  }
  return prober.remarks();
}

}  // namespace sluice
