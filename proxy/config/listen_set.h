#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "iolib/base/address.h"

namespace sluice {

/// The addresses that a configuration listens on, to find the one that stands there twice.
///
/// `:PORT` is both `0.0.0.0:PORT` and `[::]:PORT`; other spellings of one address are one, and an
/// IPv4-mapped one is the IPv4 address.
/// Port 0 is never the same twice: the kernel chooses. Names are compared as they are written.
class ListenSet {
 public:
  /// False where the address, or another that means the same, is there already; then it stays that
  /// one's.
  [[nodiscard]] bool insert(const ListenAddress& address, std::size_t route = 0);
  /// The routes to which one who connects to `target` would come, as far as the addresses tell: an
  /// empty host, "localhost", the unspecified addresses and those of its interfaces are this
  /// machine.
  [[nodiscard]] std::vector<std::size_t> reached_by(const TargetAddress& target) const;

 private:
  std::map<std::string, std::size_t> routes_;  ///< by address
};

}  // namespace sluice
