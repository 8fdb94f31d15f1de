#include "proxy/listen/listen_sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <span>
#include <utility>

#include "proxy/listen/tcp_socket.h"
#include "proxy/listen/unix_socket.h"
#include "proxy/upstream/route.h"

namespace sluice {
namespace {

// The owner and the group may use the admin thread's sockets.
constexpr mode_t kAdminMode = 0660;
// Whoever may take over could read everything that is forwarded.
constexpr mode_t kTakeoverMode = 0600;

Result<SocketAddress> local_address(int fd) {
  sockaddr_storage local{};
  socklen_t size = sizeof local;
  auto* address = reinterpret_cast<sockaddr*>(&local);
  if (::getsockname(fd, address, &size) != 0) return errno_error("getsockname");
  return SocketAddress::from(address, size);
}

// Whether a socket that could not be bound beside an inherited one can be done without: the other
// process did not allow it, or had rights that this one lacks.
bool is_dispensable(const Error& error) {
  return error.code == EADDRINUSE || error.code == EACCES || error.code == EADDRNOTAVAIL;
}

// Opens addresses: a TCP address once for each worker. Takes inherited sockets where it can.
class Opener {
 public:
  Opener(std::size_t workers, InheritedSockets& inherited, std::span<const TcpPlace> own = {})
      : workers_(workers), inherited_(inherited), own_(own) {}

  Result<> open(const ListenRequest& use) {
    if (!next_unix_worker_) next_unix_worker_ = use.group;
    const auto* path = std::get_if<UnixEndpoint>(&use.address);
    return path != nullptr ? open_unix(*path, use) : open_tcp(std::get<HostPort>(use.address), use);
  }
  [[nodiscard]] ListenSockets& opened() { return opened_; }

 private:
  Result<> open_tcp(const HostPort& address, const ListenRequest& use);
  Result<> open_group(TcpPlace place, const ListenRequest& use);
  Result<> bind_group(TcpPlace& place, const ListenRequest& use, std::size_t taken);
  Result<> open_unix(const UnixEndpoint& address, const ListenRequest& use);
  ListenSocket& add(OwnedFd fd, const ListenRequest& use, std::size_t number);
  void take(OwnedFd fd, const ListenRequest& use, std::size_t number);
  void add_unix(OwnedFd fd, const UnixEndpoint& address, const ListenRequest& use, bool inherited);

  std::size_t workers_;
  InheritedSockets& inherited_;
  std::span<const TcpPlace> own_;                // where this process listens already
  std::optional<std::size_t> next_unix_worker_;  // they take turns, over all reloads
  ListenSockets opened_;
};

// Adds socket `number` of an address.
ListenSocket& Opener::add(OwnedFd fd, const ListenRequest& use, std::size_t number) {
  ListenSocket& socket = opened_.sockets.emplace_back();
  socket.fd = std::move(fd);
  socket.route = use.route;
  socket.group = use.group;
  socket.worker = number % workers_;
  socket.first_of_address = number == 0;
  return socket;
}

// Changes nothing: the other process still accepts from it.
void Opener::take(OwnedFd fd, const ListenRequest& use, std::size_t number) {
  ListenSocket& socket = add(std::move(fd), use, number);
  socket.inherited = true;
  socket.congestion = use.congestion;
  socket.sink = use.sink;
}

// Opens one socket for each worker at one address. No inherited socket is left over, because
// closing it would reset the clients in its queue.
Result<> Opener::open_group(TcpPlace place, const ListenRequest& use) {
  std::vector<OwnedFd> taken = inherited_.take(place.address, place.both_families);
  for (std::size_t number = 0; number < taken.size(); ++number) {
    take(std::move(taken[number]), use, number);
  }
  const Result<> bound = bind_group(place, use, taken.size());
  if (bound.has_error() && (taken.empty() || !is_dispensable(bound.error()))) return bound;
  opened_.bound.push_back({use.route, use.group, place.address.to_string(), place});
  return {};
}

// Binds the sockets of an address beyond the first `taken`.
Result<> Opener::bind_group(TcpPlace& place, const ListenRequest& use, std::size_t taken) {
  const bool beside_own = std::ranges::any_of(
      own_, [&](const TcpPlace& each) { return exclude_each_other(each, place); });
  if (place.address.port() != 0 && taken == 0 && !beside_own) {
    if (Result<> found = find_free(place); found.has_error()) return found;
  }
  for (std::size_t number = taken; number < workers_; ++number) {
    Result<OwnedFd> fd = bind_tcp(place, Sharing::reuse_port, use.congestion);
    if (fd.has_error()) return fd.error();
    // Set before any client connects: a killed sink must never seem to confirm what it received.
    if (use.sink) reset_on_close(fd->get());
    if (number == 0) {
      Result<SocketAddress> local = local_address(fd->get());
      if (local.has_error()) return local.error();
      place.address = *local;  // the chosen port, if it was 0, for the other sockets
    }
    add(std::move(*fd), use, number).beside_own = beside_own;
  }
  return {};
}

Result<> Opener::open_tcp(const HostPort& address, const ListenRequest& use) {
  const Result<std::vector<Error>> lacking =
      open_each(address, [this, &use](const TcpPlace& place) { return open_group(place, use); });
  if (lacking.has_error()) return lacking.error();
  for (const Error& each : *lacking) {
    opened_.passed_over.push_back({use.route, to_string(ListenAddress(address)), each.to_string()});
  }
  return {};
}

void Opener::add_unix(OwnedFd fd, const UnixEndpoint& address, const ListenRequest& use,
                      bool inherited) {
  ListenSocket& socket = opened_.sockets.emplace_back();
  refuse_descriptors(fd.get());
  socket.fd = std::move(fd);
  socket.unix_address = address;
  socket.mode = use.mode;
  socket.route = use.route;
  socket.group = use.group;
  socket.worker = (*next_unix_worker_)++ % workers_;
  socket.kind = Leg::Kind::unix_stream;
  socket.inherited = inherited;
  socket.first_of_address = true;
}

Result<> Opener::open_unix(const UnixEndpoint& address, const ListenRequest& use) {
  std::vector<OwnedFd> taken = inherited_.take(address);
  for (OwnedFd& each : taken) add_unix(std::move(each), address, use, true);
  if (taken.empty()) {
    Result<OwnedFd> fd = open_unix_socket(address);
    if (fd.has_error()) return fd.error();
    add_unix(*std::move(fd), address, use, false);
  }
  opened_.bound.push_back({use.route, use.group, make_endpoint(address).text, std::nullopt});
  return {};
}

using Group = std::span<ListenSocket>;

// Checks again that no other process has begun to listen there since the sockets were bound.
Result<> find_still_free(int fd, const SocketAddress& address) {
  int v6_alone = 0;
  socklen_t size = sizeof v6_alone;
  static_cast<void>(::getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_alone, &size));
  return find_free(TcpPlace{address, v6_alone == 0});
}

void adopt(ListenSocket& socket, const SocketAddress& address) {
  set_accepted_options(socket.fd.get(), address, socket.congestion);
  if (accepted_options(socket.fd.get()).resets == socket.sink) return;
  reset_on_close(socket.fd.get(), socket.sink);
  socket.reset_clients = socket.sink;
}

// Makes the sockets of one TCP address listen.
Result<> listen_tcp(Group group, const std::vector<int>& cpus) {
  const Result<SocketAddress> address = local_address(group.front().fd.get());
  if (address.has_error()) return address.error();
  if (!group.front().inherited && !group.front().beside_own) {
    const Result<> found = find_still_free(group.front().fd.get(), *address);
    if (found.has_error()) return found;
  }
  for (ListenSocket& each : group) {
    if (each.inherited) adopt(each, *address);
    if (each.inherited || ::listen(each.fd.get(), kListenBacklog) == 0) continue;
    return errno_error("listen " + address->to_string());
  }
  // Without steering, the kernel's hash spreads the connections, which is correct as well. Steering
  // needs a distinct CPU for each worker, and a socket of its own.
  const std::set<int> distinct(cpus.begin(), cpus.end());
  if (group.size() == 1) return {};
  if (distinct.size() != group.size() || group.front().beside_own) {
    // The other process may have steered, or the listener that closes.
    const bool may_be_steered = group.front().inherited || group.front().beside_own;
    if (may_be_steered) static_cast<void>(stop_steering(group.front().fd.get()));
    return {};
  }
  if (steer_by_cpu(group.back().fd.get(), cpus).has_error()) return {};
  const auto steering = std::make_shared<Steering>(address->to_string(), group.size(), cpus);
  for (ListenSocket& each : group) each.steering = steering;
  return {};
}

Result<> listen_at(Group group, const std::vector<int>& cpus, std::vector<SocketPath>& paths) {
  const ListenSocket& first = group.front();
  if (!first.unix_address) return listen_tcp(group, cpus);
  if (first.inherited) return {};
  return listen_unix(first.fd.get(), *first.unix_address, first.mode, paths);
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
  Result<> probe_place(const TcpPlace& place);

  std::vector<TcpPlace> places_;
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
      open_each(address, [this](const TcpPlace& place) { return probe_place(place); });
  if (lacking.has_error()) return lacking.error();
  for (const Error& each : *lacking) {
    remarks_.push_back(to_string(ListenAddress(address)) +
                       ": one address is passed over: " + each.to_string());
  }
  return {};
}

// Compares the addresses of the configuration itself, because the probe sockets do not listen and
// so do not conflict.
Result<> Prober::probe_place(const TcpPlace& place) {
  const std::string name = place.address.to_string();
  for (const TcpPlace& other : places_) {
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

Result<ListenSockets> open_listeners(const Config& config, std::size_t workers,
                                     InheritedSockets& inherited) {
  std::vector<ListenRequest> wanted;
  for (std::size_t index = 0; index < config.routes.size(); ++index) {
    const RouteConfig& route = config.routes[index];
    for (const ListenAddress& address : route.listen) {
      wanted.push_back({address, index, wanted.size(), route.congestion, is_sink(route)});
    }
  }
  return open_listeners(wanted, workers, inherited, {});
}

Result<ListenSockets> open_listeners(std::span<const ListenRequest> wanted, std::size_t workers,
                                     InheritedSockets& inherited, std::span<const TcpPlace> own) {
  Opener opener(workers, inherited, own);
  for (const ListenRequest& each : wanted) {
    if (const Result<> opened = opener.open(each); opened.has_error()) return opened.error();
  }
  return std::move(opener.opened());
}

Result<ListenSockets> open_takeover_socket(const Config& config, InheritedSockets& inherited) {
  Opener opener(1, inherited);
  if (config.takeover_socket.empty()) return ListenSockets{};
  const Result<> opened =
      opener.open({.address = UnixEndpoint{config.takeover_socket}, .mode = kTakeoverMode});
  if (opened.has_error()) return opened.error();
  return std::move(opener.opened());
}

Result<ListenSockets> open_admin_listeners(const Config& config, InheritedSockets& inherited) {
  Opener opener(1, inherited);
  for (const ListenAddress& address : config.admin) {
    const Result<> opened = opener.open({.address = address, .mode = kAdminMode});
    if (opened.has_error()) return opened.error();
  }
  return std::move(opener.opened());
}

Result<> ListenSockets::listen(const std::vector<int>& cpus) {
  for (auto each = sockets.begin(); each != sockets.end();) {
    const auto end = std::find_if(each + 1, sockets.end(), [](const ListenSocket& socket) {
      return socket.first_of_address;
    });
    Result<> listening = listen_at(Group(each, end), cpus, unix_paths);
    if (listening.has_error()) return listening;
    each = end;
  }
  return {};
}

void ListenSockets::own_paths(const std::vector<SocketPath>& paths) {
  for (const SocketPath& each : paths) {
    const std::string address = make_endpoint(UnixEndpoint{each.path}).text;
    if (std::ranges::find(bound, address, &Bound::address) != bound.end()) {
      unix_paths.push_back(each);
    }
  }
}

void ListenSockets::remove_unix_paths() {
  for (const SocketPath& each : std::exchange(unix_paths, {})) {
    unlink_if_same(AT_FDCWD, each.path, each.socket);
  }
}

void ListenSockets::remove_unix_path(const std::string& path) {
  const auto found = std::ranges::find(unix_paths, path, &SocketPath::path);
  if (found == unix_paths.end()) return;
  unlink_if_same(AT_FDCWD, found->path, found->socket);
  unix_paths.erase(found);
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
