#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "iolib/base/address.h"
#include "iolib/base/error.h"

namespace sluice {

/// A block of IP addresses (CIDR), or the clients of unix sockets. IPv4-mapped addresses are IPv4.
class Prefix {
 public:
  /// Parses "10.0.0.0/8", "10.1.2.3", "2001:db8::/32", "::1" or "unix:".
  [[nodiscard]] static Result<Prefix> parse(std::string_view text);

  /// Whether the address is in it. The unnamed address is that of a client of a unix socket.
  [[nodiscard]] bool contains(const SocketAddress& address) const;
  /// The text that parses back to the same block.
  [[nodiscard]] std::string to_string() const;
  /// AF_INET or AF_INET6; AF_UNSPEC: clients of unix sockets.
  [[nodiscard]] int family() const { return family_; }
  /// How many of the first bits of an address decide.
  [[nodiscard]] unsigned bits() const { return bits_; }
  /// Its first address: 4 bytes of IPv4, 16 of IPv6, none for unix sockets.
  [[nodiscard]] std::span<const std::byte> host_bytes() const {
    return std::span(host_).first(family_ == AF_INET ? 4U : family_ == AF_INET6 ? 16U : 0U);
  }
  friend bool operator==(const Prefix&, const Prefix&) = default;

 private:
  std::array<std::byte, 16> host_{};  ///< beyond the first `bits_` all are 0
  int family_ = AF_UNSPEC;            ///< AF_UNSPEC: clients of unix sockets
  unsigned bits_ = 0;
};

}  // namespace sluice
