#pragma once

#include "iolib/base/clock.h"
#include "iolib/json/json.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// The items of /v1/routes.
[[nodiscard]] json::array routes_json(const Routes& routes, TimePoint now);

}  // namespace sluice::admin
