#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/wire/needs_bytes.h"
#include "proxy/config/route_match.h"

namespace sluice {

/// What is known of a client so far.
struct FirstBytes {
  std::span<const std::byte> seen;
  bool is_all = false;  ///< no more are waited for: what needs more does not fit
  const SocketAddress& client;
};

/// The route that a client chose.
struct Choice {
  std::optional<std::size_t> match;  ///< index of the match; none if no match fits
  std::string server_name = {};      ///< that a TLS client asked for; empty if it was not looked at
};

/// Finds the first match that fits. Asks for more bytes only if they could change that.
[[nodiscard]] std::variant<wire::NeedsBytes, Choice> choose(const std::vector<RouteMatch>& matches,
                                                            const FirstBytes& first);

}  // namespace sluice
