#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "iolib/base/address.h"
#include "tools/bench/protocol.h"

namespace sluice::bench {

/// What the connections of a run have before their Hello, so that the path can route by it, or
/// tells the servers who the client is.
struct Opening {
  std::size_t names =
      0;  ///< each connection asks for one of this many by a TLS hello; 0: none does
  std::uint8_t proxy_header = 0;  ///< version of the PROXY header that the path adds; 0: none
};

/// The name with this index: that of server `index % servers`.
[[nodiscard]] std::string server_name(std::size_t index);

/// What a connection sends first: the TLS hello, if any, and `hello`, which says what has to come
/// before it. Connections ask for the names in `turn`. They come from `source`, an IPv4 address in
/// host byte order.
[[nodiscard]] std::string first_bytes(const Opening& opening, Hello hello, std::uint64_t turn,
                                      std::uint32_t source);

/// What has come before a Hello.
struct Preface {
  std::uint8_t proxy_header = 0;  ///< its version; 0: there is none
  SocketAddress client;           ///< that it names
  std::size_t proxy_bytes = 0;
  std::size_t tls_bytes = 0;
  [[nodiscard]] std::size_t size_bytes() const { return proxy_bytes + tls_bytes; }
};
/// Reads what comes before a Hello from the first bytes of a connection. The size is the least
/// possible, as long as there are fewer bytes than that.
[[nodiscard]] Preface read_preface(std::string_view seen);
/// Why `preface`, at the beginning of `seen`, is not what the Hello says, or has come to the wrong
/// one of `servers`; empty if all is right.
[[nodiscard]] std::string fault_of(const Preface& preface, std::string_view seen,
                                   const Hello& hello, std::size_t server, std::size_t servers);

}  // namespace sluice::bench
