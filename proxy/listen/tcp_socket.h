#pragma once

#include <functional>
#include <string>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "proxy/config/config.h"

namespace sluice {

/// A TCP address to bind to.
struct TcpPlace {
  SocketAddress address;
  bool both_families = false;  ///< an IPv6 socket there also accepts IPv4
};
/// Whether a listener on one of the two prevents a listener on the other.
[[nodiscard]] bool exclude_each_other(const TcpPlace& a, const TcpPlace& b);

/// Whether several sockets can be bound to the address (SO_REUSEPORT).
enum class Sharing { alone, reuse_port };

/// A new socket that is bound to `place` and has the options of
/// set_accepted_options().
[[nodiscard]] Result<OwnedFd> bind_tcp(const TcpPlace& place, Sharing sharing,
                                       Congestion congestion);
/// Sets the options that accepted sockets inherit, so that no connection pays for them.
void set_accepted_options(int fd, const SocketAddress& address, Congestion congestion);
/// Sets the congestion control that they inherit.
void set_congestion(int fd, const SocketAddress& address, Congestion congestion);
/// What accepted sockets inherit of a listening one and differs between routes.
struct AcceptedOptions {
  bool resets = false;  ///< see reset_on_close()
  std::string congestion;
};
[[nodiscard]] AcceptedOptions accepted_options(int fd);
/// Sets the congestion control to this one, a name of tcp(7).
void set_congestion(int fd, const std::string& name);
/// Fails if another process listens at `place`. The probe binds without SO_REUSEPORT; with it, a
/// second daemon of the same user would bind without an error. Sockets that are bound but do not
/// listen do not conflict.
[[nodiscard]] Result<> find_free(const TcpPlace& place);

/// Opens everything that a listening HOST:PORT means with `open`. Resolves names, which can take
/// long. Returns the error of each address of a name that this machine lacks, while it has another.
[[nodiscard]] Result<std::vector<Error>> open_each(
    const HostPort& address, const std::function<Result<>(const TcpPlace&)>& open);

}  // namespace sluice
