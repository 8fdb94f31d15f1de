#pragma once

#include "iolib/json/json.h"
#include "proxy/config/config.h"

namespace sluice::admin {

/// The body of /v1/config: the keys of a configuration file with the values that hold. `defaults`
/// has the keys of the process, and what the keys of a route are if a route does not have them
/// here. A key that is not set is null. What health checks send can be a password, so it is left
/// out.
[[nodiscard]] json::object config_json(const Config& config);

}  // namespace sluice::admin
