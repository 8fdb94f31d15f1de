#pragma once

#include <sys/socket.h>

#include <string>

#include "iolib/base/error.h"

namespace sluice {

/// Where to connect to or listen at, resolved.
struct Endpoint {
  sockaddr_storage address{};
  socklen_t size_bytes = 0;
  std::string text;  ///< as it was written
  [[nodiscard]] int family() const { return address.ss_family; }
  [[nodiscard]] const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&address); }
};

/// Resolves `HOST:PORT`, `[v6]:PORT`, `:PORT` or `unix:/path`; the first address of a name counts.
[[nodiscard]] Result<Endpoint> resolve_target(const std::string& text);
/// The same for listening: an empty host is every address, port 0 the kernel's choice.
[[nodiscard]] Result<Endpoint> resolve_listen(const std::string& text);

}  // namespace sluice
