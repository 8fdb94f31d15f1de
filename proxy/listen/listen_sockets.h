#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/relay/leg.h"
#include "proxy/config/config.h"
#include "proxy/listen/inherited.h"
#include "proxy/listen/steering.h"
#include "proxy/listen/tcp_socket.h"
#include "proxy/listen/unix_socket.h"

namespace sluice {

/// A listening socket that no worker owns yet.
struct ListenSocket {
  OwnedFd fd;
  /// nullopt for TCP. A path is bound only by listen(); all other sockets are already bound.
  std::optional<UnixEndpoint> unix_address;
  std::optional<mode_t> mode = {};  ///< permissions of the path; nullopt: as the umask has it
  static constexpr std::size_t kNoRoute = static_cast<std::size_t>(-1);
  std::size_t route = kNoRoute;  ///< its number
  std::size_t group = 0;         ///< all sockets of one configured address have the same
  std::size_t worker = 0;  ///< the worker that accepts from it; it can have several of an address
  Leg::Kind kind = Leg::Kind::tcp;
  /// Whether another process has bound it: it listens already, and a path is not this daemon's.
  bool inherited = false;
  bool first_of_address = false;  ///< the sockets up to the next such one share an address
  /// Whether this process has another listener that a socket there conflicts with, and that closes.
  bool beside_own = false;
  /// What listen() makes of an inherited one, which is the other process's until then.
  Congestion congestion = Congestion::system;
  bool sink = false;
  /// How the clients are closed, if those that are queued already have inherited something else.
  std::optional<bool> reset_clients = {};
  std::shared_ptr<Steering> steering;  ///< of the address; null: the kernel's hash spreads its
                                       ///< connections
};

/// An address to listen at.
struct ListenRequest {
  ListenAddress address;
  std::size_t route = ListenSocket::kNoRoute;  ///< its number
  std::size_t group = 0;
  Congestion congestion = Congestion::system;
  bool sink = false;
  std::optional<mode_t> mode = {};  ///< of a path; nullopt: as the umask has it
};

/// All listening sockets of a configuration.
struct ListenSockets {
  std::vector<ListenSocket> sockets;  ///< grouped by address
  struct Bound {
    std::size_t route;
    std::size_t group;
    std::string address;            ///< with the chosen port, if it was 0
    std::optional<TcpPlace> place;  ///< nullopt: it is a unix socket
  };
  std::vector<Bound> bound;
  /// An address of a host name that this machine lacks, while it has another one of that name.
  struct PassedOver {
    std::size_t route;
    std::string name;
    std::string reason;
  };
  std::vector<PassedOver> passed_over;
  std::vector<SocketPath> unix_paths;  ///< the paths that remove_unix_paths() removes

  /// Makes all sockets listen: from now on clients can connect. If `cpus` is not empty, a
  /// connection goes to the worker on the CPU where it arrives, while that spreads the connections;
  /// cpus[i] is the CPU of worker i. On failure some sockets may already listen.
  [[nodiscard]] Result<> listen(const std::vector<int>& cpus);
  /// Takes over the paths of inherited sockets: those of `paths` at which one of these listens are
  /// removed from now on, too.
  void own_paths(const std::vector<SocketPath>& paths);
  /// Removes the paths of the unix sockets, once. A path that another file has taken, such as a
  /// successor's listener, stays. The sockets must still be open.
  void remove_unix_paths();
  /// Removes the path of this unix socket only.
  void remove_unix_path(const std::string& path);
};

/// Binds every listener of every route and reports addresses in use. TCP gets one socket for each
/// worker (SO_REUSEPORT); a unix socket goes to one worker. Any failure fails the whole call,
/// except for addresses of a name that this machine lacks. No socket listens yet, and no file is
/// created.
///
/// Sockets in `inherited` that are bound to an address of the configuration are taken instead,
/// since clients may already be queued there. If there are more than workers, some workers have
/// several. If there are fewer, the rest are bound beside them where that is possible.
[[nodiscard]] Result<ListenSockets> open_listeners(const Config& config, std::size_t workers,
                                                   InheritedSockets& inherited);

/// The same for further addresses while others are open, at `own` places: some of these may close
/// once the new ones listen, and those that would conflict with a new one do.
[[nodiscard]] Result<ListenSockets> open_listeners(std::span<const ListenRequest> wanted,
                                                   std::size_t workers, InheritedSockets& inherited,
                                                   std::span<const TcpPlace> own);

/// The same for the addresses of the admin thread: one socket for each, without a route. Paths of
/// unix sockets get mode 0660, except for inherited ones.
[[nodiscard]] Result<ListenSockets> open_admin_listeners(const Config& config,
                                                         InheritedSockets& inherited);

/// The same for the socket at which another process can take over, with mode 0600; none if there is
/// no such option.
[[nodiscard]] Result<ListenSockets> open_takeover_socket(const Config& config,
                                                         InheritedSockets& inherited);

/// Checks whether this machine can open the listeners of `config`, without listening anywhere. The
/// error is that of the first listener that fails. A process that listens on a unix socket of
/// `config` sees one connection, which closes at once.
///
/// Returns remarks for the user. An address in use is a remark and no error, because the running
/// daemon with this configuration may be using it. So is an address of a name that this machine
/// lacks, while it has another one.
[[nodiscard]] Result<std::vector<std::string>> probe_listeners(const Config& config);

}  // namespace sluice
