#pragma once

#include <string>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/endpoint.h"
#include "iolib/base/error.h"

namespace sluice {

/// Parses an address to connect to: `HOST:PORT`, `[IPV6]:PORT`, `:PORT` or `unix:/path`.
[[nodiscard]] Result<TargetAddress> parse_server_address(const std::string& text);
/// Resolves an address that parse_server_address() accepts. Returns all addresses of the name, at
/// least one, in the order in which to try them: a server may listen on some of them only. Blocks
/// during the DNS lookup.
[[nodiscard]] Result<std::vector<Endpoint>> resolve_target(const std::string& text);
/// Resolves an address to listen on, and returns the first result. An empty host means all local
/// addresses; for port 0 the kernel chooses one.
[[nodiscard]] Result<Endpoint> resolve_listen(const std::string& text);

}  // namespace sluice
