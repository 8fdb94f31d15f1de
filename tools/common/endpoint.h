#pragma once

#include <string>

#include "iolib/base/address.h"
#include "iolib/base/endpoint.h"
#include "iolib/base/error.h"

namespace sluice {

/// Parses what can be connected to: `HOST:PORT`, `[v6]:PORT`, `:PORT` or `unix:/path`.
[[nodiscard]] Result<TargetAddress> parse_server_address(const std::string& text);
/// Resolves what parse_server_address() takes; the first address of a name counts.
[[nodiscard]] Result<Endpoint> resolve_target(const std::string& text);
/// The same for listening: an empty host is every address, port 0 the kernel's choice.
[[nodiscard]] Result<Endpoint> resolve_listen(const std::string& text);

}  // namespace sluice
