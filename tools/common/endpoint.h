#pragma once

#include <string>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/endpoint.h"
#include "iolib/base/error.h"

namespace sluice {

/// Parses what can be connected to: `HOST:PORT`, `[v6]:PORT`, `:PORT` or `unix:/path`.
[[nodiscard]] Result<TargetAddress> parse_server_address(const std::string& text);
/// Resolves what parse_server_address() takes: all addresses of a name, at least one, in the order
/// in which they are to be tried. A server may listen on some of them only.
[[nodiscard]] Result<std::vector<Endpoint>> resolve_target(const std::string& text);
/// The same for listening, the first address: an empty host is every one, port 0 the kernel's
/// choice.
[[nodiscard]] Result<Endpoint> resolve_listen(const std::string& text);

}  // namespace sluice
