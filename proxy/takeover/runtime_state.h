#pragma once

#include <span>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/json/json.h"
#include "proxy/config/config.h"
#include "proxy/upstream/route.h"

namespace sluice::takeover {

/// What operators have switched, and what the process has found out about servers: everything that
/// the configuration alone does not say. By the names of routes and servers.
[[nodiscard]] json::object runtime_state(std::span<const std::shared_ptr<const Route>> routes,
                                         const Config& config, TimePoint now);
/// The reverse, in a successor, before the routes are used. What an operator has switched yields
/// where the successor's configuration has another value than that of the process from which the
/// state comes.
void restore(const json::object& state, std::span<const Route> routes, const Config& config,
             TimePoint now);

}  // namespace sluice::takeover
