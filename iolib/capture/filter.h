#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/error.h"
#include "iolib/capture/format.h"

namespace sluice::capture {

/// A range of IPv4 or IPv6 addresses.
class Cidr {
 public:
  /// Parses "10.0.0.0/8", "2001:db8::/32", or one address. Address bits after the prefix must be
  /// zero.
  [[nodiscard]] static Result<Cidr> parse(std::string_view text);
  [[nodiscard]] bool contains(const SocketAddress& address) const;

 private:
  std::array<std::uint8_t, 16> prefix_{};  // an IPv4 address uses the first four bytes
  unsigned bits_ = 0;
  int family_ = 0;
};

/// Parses "2026-11-24T09:30:00Z" (also with a fraction, or with +HH:MM for Z), "2026-11-24", or "@"
/// and seconds since 1970. Returns nanoseconds since 1970. The time must lie between 1970 and 2262.
[[nodiscard]] Result<std::uint64_t> parse_time(std::string_view text);

/// Selects connections and their records. An empty member selects all.
struct Filter {
  std::vector<Cidr> peers;                ///< one of them must contain the client or the upstream
  std::vector<std::uint16_t> ports;       ///< one of them must be the client's or the upstream's
  std::optional<std::uint64_t> from_ns;   ///< first time that is selected (wall clock)
  std::optional<std::uint64_t> until_ns;  ///< first time that is no longer selected
  std::string route;
  std::string id;

  [[nodiscard]] bool takes(const OpenInfo& connection) const;
  [[nodiscard]] bool takes_time(std::uint64_t wall_ns) const {
    return (!from_ns || wall_ns >= *from_ns) && (!until_ns || wall_ns < *until_ns);
  }
};

}  // namespace sluice::capture
