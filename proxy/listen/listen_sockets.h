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

/// A listening socket, before a worker takes it.
struct ListenSocket {
  OwnedFd fd;
  /// Unless it is TCP's. A path is bound once it listens; anything else is.
  std::optional<UnixEndpoint> unix_address;
  std::size_t route = 0;
  std::size_t worker = 0;  ///< who accepts from it
  Leg::Kind kind = Leg::Kind::tcp;
  std::shared_ptr<Steering> steering;  ///< of the address; null: the kernel's hash spreads
};

/// All listening sockets of a configuration.
struct ListenSockets {
  std::vector<ListenSocket> sockets;  ///< those of an address stand together, by their workers
  struct Bound {
    std::size_t route;
    std::string address;  ///< with the port that was chosen
  };
  std::vector<Bound> bound;
  /// An address of a name that this machine lacks, while it has another one.
  struct PassedOver {
    std::size_t route;
    std::string name;
    std::string reason;
  };
  std::vector<PassedOver> passed_over;
  struct UnixPath {
    std::string path;
    std::optional<FileIdentity> socket;  ///< what was bound there
  };
  std::vector<UnixPath> unix_paths;  ///< to be removed at the end

  /// Lets all of them listen: clients come from now on. If `cpus` is not empty, connections go to
  /// the worker on the CPU that they arrive on, as long as that spreads them; cpus[i] is worker
  /// i's. On failure some may listen.
  [[nodiscard]] Result<> listen(const std::vector<int>& cpus);
  /// Removes the paths of unix sockets, once, except where another file has taken one: the
  /// listener of a successor. While the sockets are open.
  void remove_unix_paths();
};

/// Binds every listener of every route, and finds out which one is in use: for TCP one socket a
/// worker (SO_REUSEPORT), a unix socket for one worker. All or nothing, but for those addresses of
/// a name that this machine lacks. None listens yet, and nothing is left behind.
[[nodiscard]] Result<ListenSockets> open_listeners(const Config& config, std::size_t workers);

/// Whether the listeners of `config` could be opened on this machine, without listening anywhere;
/// the error is that of the first that could not. Who listens on a unix socket of `config` sees one
/// connection, which ends at once. Returns what else is worth saying: addresses in use
/// are no error, since the daemon whose configuration is being checked may have them; nor are
/// those of a name that this machine lacks, while it has another one.
[[nodiscard]] Result<std::vector<std::string>> probe_listeners(const Config& config);

}  // namespace sluice
