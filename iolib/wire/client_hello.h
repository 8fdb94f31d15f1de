#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "iolib/wire/needs_bytes.h"

namespace sluice::wire {

/// What a TLS client says first, in plain text (RFC 8446, section 4.1.2). With Encrypted Client
/// Hello it is the outer one.
struct ClientHello {
  /// The name of the server that it wants (RFC 6066), in lower case and without a final dot. Empty
  /// if it names none, or if the name is not one of a host.
  std::string server_name;
  std::vector<std::string> protocols;  ///< ALPN (RFC 7301), in the client's order
};

/// The longest hello that is read, with the headers of its records. Post-quantum key shares need
/// about 2 KiB.
inline constexpr std::size_t kLongestHello = 64 << 10;

/// The stream does not begin with a hello that can be read.
struct NotHello {};

/// Reads a hello from the first bytes of a stream. It may be spread over several records.
[[nodiscard]] std::variant<NeedsBytes, NotHello, ClientHello> parse_client_hello(
    std::span<const std::byte> seen);

/// The name as it is compared: in lower case, without a final dot. Empty if it cannot be the name
/// of a host.
[[nodiscard]] std::string normal_host_name(std::string_view name);

}  // namespace sluice::wire
