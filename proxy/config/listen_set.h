#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "iolib/base/address.h"

namespace sluice {

/// The same for all spellings of an address. Not for port 0.
[[nodiscard]] std::string listen_key(const ListenAddress& address);

/// The addresses on which a configuration listens. Finds duplicates, and routes that a target
/// reaches.
///
/// `:PORT` means both `0.0.0.0:PORT` and `[::]:PORT`. Different spellings of a numeric address or a
/// path are equal, and an IPv4-mapped address equals the IPv4 address. Names are compared as text,
/// not resolved. Port 0 never equals another, because the kernel chooses the port.
class ListenSet {
 public:
  /// Adds `address` for `route`. False if an equal address is present; the address then keeps its
  /// first route.
  [[nodiscard]] bool insert(const ListenAddress& address, std::size_t route = 0);
  /// The routes that a connection to `target` would reach, as far as the addresses show. An empty
  /// host, "localhost", the unspecified addresses and the addresses of this machine's interfaces
  /// count as this machine.
  [[nodiscard]] std::vector<std::size_t> reached_by(const TargetAddress& target) const;

 private:
  std::map<std::string, std::size_t> routes_;  ///< by key of the address
};

}  // namespace sluice
