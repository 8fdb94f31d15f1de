#pragma once

#include "iolib/base/clock.h"
#include "iolib/json/json.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// The items of /v1/servers, by route.
[[nodiscard]] json::array servers_json(const Routes& routes, const Checks& checks, TimePoint now);

}  // namespace sluice::admin
