#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "iolib/base/address.h"
#include "iolib/wire/needs_bytes.h"

namespace sluice::wire {

/// What a load balancer in front says about a connection: the first bytes of the stream, in
/// version 1 (a line of text) or 2 (binary).
/// https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
struct ProxyHeader {
  std::size_t size_bytes = 0;  ///< of the header; the client's own bytes follow
  /// The client and the address that it connected to. Unnamed if the header does not say, or if
  /// they are no IP addresses: then those of the connection itself count.
  SocketAddress client;
  SocketAddress target;
};

/// The longest headers that are accepted.
inline constexpr std::size_t kLongestProxyV1 = 107;
inline constexpr std::size_t kLongestProxyV2 = 4'096;

/// The stream does not begin with a valid header.
struct NotProxy {
  std::string_view why;
};
/// Reads a header from the first bytes of a stream. NeedsBytes never asks for more bytes than the
/// header has.
[[nodiscard]] std::variant<NeedsBytes, NotProxy, ProxyHeader> parse_proxy_header(
    std::span<const std::byte> seen);

/// What an outgoing header says.
struct ProxyOut {
  SocketAddress client;  ///< unnamed: unknown
  SocketAddress target;
  // Version 2 only:
  std::string_view authority = {};  ///< the name that a TLS client asked for; at most 255 bytes
  std::string_view unique_id = {};  ///< at most 128 bytes
  bool crc32c = false;              ///< adds a checksum of the header
};
/// A header for these addresses. If they are of two families, IPv4 becomes IPv4-mapped.
[[nodiscard]] std::string proxy_header_v1(const ProxyOut& out);
[[nodiscard]] std::string proxy_header_v2(const ProxyOut& out);
/// A header of a connection that the sender makes for itself, such as a health check: PROXY UNKNOWN
/// in version 1, LOCAL in version 2.
[[nodiscard]] std::string local_header_v1();
[[nodiscard]] std::string local_header_v2();

}  // namespace sluice::wire
