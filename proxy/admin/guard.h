#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/admin/http.h"

namespace sluice::admin {

/// Who may send requests.
struct GuardRules {
  std::vector<std::string> hosts;  ///< names allowed in `Host`, in lower case
  std::string token;               ///< needed over TCP; empty: none is
};

/// The response to a request that may not be handled; nullopt if it may. Checks, in this order:
/// `Host` (against DNS rebinding), what the address serves, the token, and for requests that are
/// not GET or HEAD what no page of another origin can send.
[[nodiscard]] std::optional<HttpResponse> refusal(const HttpRequest& request,
                                                  const GuardRules& rules);

/// Whether `host`, with or without a port, is an IP address, `localhost` or one of `names`.
[[nodiscard]] bool is_known_host(std::string_view host, std::span<const std::string> names);
/// Whether `origin` is http or https at exactly this `host`.
[[nodiscard]] bool is_same_origin(std::string_view origin, std::string_view host);
/// Compares secrets. The time depends on the length of `given` only.
[[nodiscard]] bool equal_in_constant_time(std::string_view given, std::string_view secret);

}  // namespace sluice::admin
