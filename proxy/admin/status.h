#pragma once

#include <string>

#include "iolib/base/clock.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// The body of /v1/status, a JSON object. While the daemon starts, the object has no members about
/// what it serves.
[[nodiscard]] std::string status_json(const AdminSource& source, Duration uptime);

}  // namespace sluice::admin
