#pragma once

#include <optional>
#include <string>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/owned_fd.h"

namespace sluice {

/// Listening sockets that another process has bound: systemd, or a daemon that this one replaces.
/// open_listeners() takes those that are bound to an address of the configuration. The paths of
/// unix sockets belong to the other process. Not safe for use by several threads at once.
class InheritedSockets {
 public:
  /// Adds a descriptor and makes it close-on-exec and non-blocking. Everything is accepted; what is
  /// no listening stream socket is never taken.
  void add(OwnedFd fd);
  /// Takes all sockets that are bound to this address, in the order in which they were added.
  /// `both_families`: the wildcard address of IPv6 that also accepts IPv4.
  [[nodiscard]] std::vector<OwnedFd> take(const SocketAddress& address, bool both_families);
  [[nodiscard]] std::vector<OwnedFd> take(const UnixEndpoint& address);
  /// Whether nothing is left to take.
  [[nodiscard]] bool empty() const { return sockets_.empty(); }
  /// What has not been taken, for a warning: the address as a configuration names it, and why it
  /// could not be taken if that is not the configuration's fault.
  [[nodiscard]] std::vector<std::string> left() const;

 private:
  struct Socket {
    OwnedFd fd;
    std::string text;       ///< for left()
    SocketAddress address;  ///< unnamed unless it listens for TCP
    bool both_families = false;
    std::optional<UnixEndpoint> unix_address;  ///< set if it listens on a unix socket
  };

  template <typename Matches>
  std::vector<OwnedFd> take_if(const Matches& matches);

  std::vector<Socket> sockets_;
};

}  // namespace sluice
