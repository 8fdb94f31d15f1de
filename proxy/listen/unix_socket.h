#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/error.h"
#include "iolib/base/file_identity.h"
#include "iolib/base/owned_fd.h"

namespace sluice {

/// The length of every listener's queue, which the kernel limits to net.core.somaxconn.
inline constexpr int kListenBacklog = 4096;

/// The path of a listening unix socket.
struct SocketPath {
  std::string path;
  std::optional<FileIdentity> socket;  ///< the bound socket
};

/// Opens a socket for the address. An abstract name is bound at once, since it leaves no file
/// behind; a path is bound only by listen_unix(). An error if another process listens there.
[[nodiscard]] Result<OwnedFd> open_unix_socket(const UnixEndpoint& address);

/// Makes a socket of open_unix_socket() listen. A path that nobody listens on any more is replaced.
/// `mode`: the permissions of the path, before anybody can connect; nullopt: as the umask has it.
/// What was bound is added to `paths`, also on failure.
[[nodiscard]] Result<> listen_unix(int fd, const UnixEndpoint& address, std::optional<mode_t> mode,
                                   std::vector<SocketPath>& paths);

/// Whether another process listens at the address. An error if no socket can be bound there. Leaves
/// nothing behind. A process that does listen there sees one connection, which closes at once.
[[nodiscard]] Result<bool> probe_unix_socket(const UnixEndpoint& address);

}  // namespace sluice
