#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "iolib/base/error.h"

namespace sluice {

/// A resolved socket address (IPv4, IPv6 or unix), as the kernel takes it.
///
/// Small for IP peers, because one is kept for each connection: unix paths are not stored here
/// but in UnixEndpoint; an accepted unix peer is `unix:` with no path.
class SocketAddress {
 public:
  SocketAddress() = default;
  explicit SocketAddress(const sockaddr_in& v4);
  explicit SocketAddress(const sockaddr_in6& v6);
  /// Any family; one that is neither IPv4 nor IPv6 gives the unnamed address, an IPv4-mapped one
  /// the IPv4 address.
  static SocketAddress from(const sockaddr* address, socklen_t length);

  [[nodiscard]] const sockaddr* data() const;
  [[nodiscard]] socklen_t size_bytes() const;
  /// AF_INET, AF_INET6, or AF_UNSPEC when unnamed.
  [[nodiscard]] int family() const;
  [[nodiscard]] std::uint16_t port() const;
  /// "10.0.0.2:5432", "[::1]:80", "-" when unnamed.
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const SocketAddress& a, const SocketAddress& b);

 private:
  union {
    sockaddr_in6 v6_{};
    sockaddr_in v4_;
  };
};

/// HOST:PORT as written, with HOST possibly a name, still to be resolved. An empty host is
/// "any" when listening and loopback when connecting.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};
/// A path of the filesystem, or `@` and a name of the abstract namespace (unix(7)), which is
/// exactly the bytes behind the `@`.
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

using ListenAddress = std::variant<HostPort, UnixEndpoint>;
using TargetAddress =
    std::variant<HostPort, UnixEndpoint, FileEndpoint, DiscardEndpoint, EchoEndpoint>;

/// `HOST:PORT`, `[v6]:PORT`, `:PORT`, `unix:/path`, `unix:@name`. Port 0 is allowed.
[[nodiscard]] Result<ListenAddress> parse_listen_address(std::string_view text);
/// The same (port 0 is refused), and `file:/path`, `discard:`, `echo:`.
[[nodiscard]] Result<TargetAddress> parse_target_address(std::string_view text);

/// Written as it would be parsed.
[[nodiscard]] std::string to_string(const ListenAddress& address);
[[nodiscard]] std::string to_string(const TargetAddress& address);

/// `host` as a numeric IPv4 or IPv6 address (v6 with or without a scope), or an error if it is a
/// name.
[[nodiscard]] Result<SocketAddress> numeric_address(const HostPort& address);

}  // namespace sluice
