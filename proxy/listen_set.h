#pragma once

#include <set>
#include <string>

#include "iolib/base/address.h"

namespace sluice {

/// The addresses that a configuration listens on, to find the one that stands there twice.
///
/// `:PORT` is both `0.0.0.0:PORT` and `[::]:PORT`; other spellings of one IPv6 address are one.
/// Port 0 is never the same twice: the kernel chooses. Names are compared as they are written.
class ListenSet {
 public:
  /// False where the address, or another that means the same, is there already.
  [[nodiscard]] bool insert(const ListenAddress& address);
  /// Whether who connects to `target` would come to one of them, as far as the addresses tell:
  /// an empty host, "localhost" and the unspecified addresses are this machine.
  [[nodiscard]] bool is_reached_by(const TargetAddress& target) const;

 private:
  std::set<std::string> keys_;
};

}  // namespace sluice
