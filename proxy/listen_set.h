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

 private:
  std::set<std::string> keys_;
};

}  // namespace sluice
