#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "iolib/base/error.h"

namespace sluice {

/// A resolved socket address (IPv4 or IPv6), as the kernel takes it, or the unnamed address.
///
/// It is small because each connection keeps one. Unix paths are in UnixEndpoint instead; the
/// address of an accepted unix peer is the unnamed one.
class SocketAddress {
 public:
  SocketAddress() = default;
  explicit SocketAddress(const sockaddr_in& v4);
  explicit SocketAddress(const sockaddr_in6& v6);
  /// Copies an address of any family. IPv4-mapped becomes IPv4. A family that is neither IPv4 nor
  /// IPv6 gives the unnamed address.
  static SocketAddress from(const sockaddr* address, socklen_t length);

  /// For the kernel: the structure, and its size (0 for the unnamed address).
  [[nodiscard]] const sockaddr* data() const;
  [[nodiscard]] socklen_t size_bytes() const;
  /// AF_INET, AF_INET6, or AF_UNSPEC for the unnamed address.
  [[nodiscard]] int family() const;
  [[nodiscard]] std::uint16_t port() const;
  /// The bytes of the IP address; none for the unnamed address.
  [[nodiscard]] std::span<const std::byte> host_bytes() const;
  /// "10.0.0.2:5432", "[::1]:80"; "-" for the unnamed address.
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const SocketAddress& a, const SocketAddress& b);

 private:
  union {
    sockaddr_in6 v6_{};
    sockaddr_in v4_;
  };
};

/// HOST:PORT as written. HOST can be a name that is not yet resolved. An empty host means every
/// local address when listening, and loopback when connecting.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};
/// A path of the filesystem, or `@` and an abstract name (unix(7)). The name is exactly the bytes
/// after the `@`.
struct UnixEndpoint {
  std::string path;
  [[nodiscard]] bool is_abstract() const { return path.starts_with('@'); }
  friend bool operator==(const UnixEndpoint&, const UnixEndpoint&) = default;
};
struct FileEndpoint {
  std::string path;
  friend bool operator==(const FileEndpoint&, const FileEndpoint&) = default;
};
struct DiscardEndpoint {
  friend bool operator==(const DiscardEndpoint&, const DiscardEndpoint&) = default;
};
struct EchoEndpoint {
  friend bool operator==(const EchoEndpoint&, const EchoEndpoint&) = default;
};
/// Every address of a name, at this port, is a server.
struct DnsName {
  std::string host;  ///< never numeric
  std::uint16_t port = 0;
  friend bool operator==(const DnsName&, const DnsName&) = default;
};
/// Every record of an SRV name (RFC 2782) is a server; one whose target has several addresses is
/// several servers.
struct SrvName {
  std::string name;  ///< "_NAME._tcp.DOMAIN"
  friend bool operator==(const SrvName&, const SrvName&) = default;
};

using ListenAddress = std::variant<HostPort, UnixEndpoint>;
using TargetAddress = std::variant<HostPort, UnixEndpoint, FileEndpoint, DiscardEndpoint,
                                   EchoEndpoint, DnsName, SrvName>;

/// Parses `HOST:PORT`, `[v6]:PORT`, `:PORT`, `unix:/path` or `unix:@name`. Port 0 is allowed.
[[nodiscard]] Result<ListenAddress> parse_listen_address(std::string_view text);
/// Parses the same forms, and `file:/path`, `discard:`, `echo:`, `dns:HOST:PORT` and
/// `srv:_NAME._tcp.DOMAIN`. Port 0 is an error.
[[nodiscard]] Result<TargetAddress> parse_target_address(std::string_view text);

/// The text that parses back to the same address.
[[nodiscard]] std::string to_string(const ListenAddress& address);
[[nodiscard]] std::string to_string(const TargetAddress& address);
/// Whether the target is a socket to connect to.
[[nodiscard]] inline bool is_server(const TargetAddress& address) {
  return std::holds_alternative<HostPort>(address) || std::holds_alternative<UnixEndpoint>(address);
}
/// Whether the target is a name that stands for any number of servers.
[[nodiscard]] inline bool names_servers(const TargetAddress& address) {
  return std::holds_alternative<DnsName>(address) || std::holds_alternative<SrvName>(address);
}

/// Converts a numeric IPv4 or IPv6 host (IPv6 with or without a scope) without the resolver. A name
/// is an error.
[[nodiscard]] Result<SocketAddress> numeric_address(const HostPort& address);

}  // namespace sluice
