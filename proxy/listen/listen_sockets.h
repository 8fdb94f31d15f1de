#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/file_identity.h"
#include "iolib/base/owned_fd.h"
#include "iolib/relay/leg.h"
#include "proxy/config/config.h"
#include "proxy/listen/steering.h"

namespace sluice {

/// A listening socket that no worker owns yet.
struct ListenSocket {
  OwnedFd fd;
  /// nullopt for TCP. A path is bound only by listen(); all other sockets are already bound.
  std::optional<UnixEndpoint> unix_address;
  std::size_t route = 0;
  std::size_t worker = 0;  ///< the worker that accepts from it
  Leg::Kind kind = Leg::Kind::tcp;
  std::shared_ptr<Steering> steering;  ///< of the address; null: the kernel's hash spreads its
                                       ///< connections
};

/// All listening sockets of a configuration.
struct ListenSockets {
  std::vector<ListenSocket> sockets;  ///< grouped by address, ordered by worker
  struct Bound {
    std::size_t route;
    std::string address;  ///< with the chosen port, if it was 0
  };
  std::vector<Bound> bound;
  /// An address of a host name that this machine lacks, while it has another one of that name.
  struct PassedOver {
    std::size_t route;
    std::string name;
    std::string reason;
  };
  std::vector<PassedOver> passed_over;
  struct UnixPath {
    std::string path;
    std::optional<FileIdentity> socket;  ///< the bound socket
  };
  std::vector<UnixPath> unix_paths;  ///< the paths that remove_unix_paths() removes

  /// Makes all sockets listen: from now on clients can connect. If `cpus` is not empty, a
  /// connection goes to the worker on the CPU where it arrives, while that spreads the connections;
  /// cpus[i] is the CPU of worker i. On failure some sockets may already listen.
  [[nodiscard]] Result<> listen(const std::vector<int>& cpus);
  /// Removes the paths of the unix sockets, once. A path that another file has taken, such as a
  /// successor's listener, stays. The sockets must still be open.
  void remove_unix_paths();
};

/// Binds every listener of every route and reports addresses in use. TCP gets one socket for each
/// worker (SO_REUSEPORT); a unix socket goes to one worker. Any failure fails the whole call,
/// except for addresses of a name that this machine lacks. No socket listens yet, and no file is
/// created.
[[nodiscard]] Result<ListenSockets> open_listeners(const Config& config, std::size_t workers);

/// Checks whether this machine can open the listeners of `config`, without listening anywhere. The
/// error is that of the first listener that fails. A process that listens on a unix socket of
/// `config` sees one connection, which closes at once.
///
/// Returns remarks for the user. An address in use is a remark and no error, because the running
/// daemon with this configuration may be using it. So is an address of a name that this machine
/// lacks, while it has another one.
[[nodiscard]] Result<std::vector<std::string>> probe_listeners(const Config& config);

}  // namespace sluice
