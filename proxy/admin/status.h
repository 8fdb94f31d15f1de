#pragma once

#include <optional>
#include <string>

#include "iolib/base/clock.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// The body of /v1/status, a JSON object. While the daemon starts, `figures` is nullopt, and the
/// object has no members about them.
[[nodiscard]] std::string status_json(RunState state, const std::optional<Figures>& figures,
                                      Duration uptime);

}  // namespace sluice::admin
