#pragma once

#include <vector>

#include "iolib/json/json.h"
#include "proxy/admin/metrics.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// The items of /v1/captures and of /v1/mirrors. `routes`: those that may be recorded or mirrored.
[[nodiscard]] json::array captures_json(const std::vector<CaptureFigures>& captures,
                                        const Routes& routes);
[[nodiscard]] json::array mirrors_json(const std::vector<MirrorFigures>& mirrors,
                                       const Routes& routes);

/// Adds their metrics; nothing if there are none.
void add_capture_metrics(MetricsWriter& metrics, const std::vector<CaptureFigures>& captures);
void add_mirror_metrics(MetricsWriter& metrics, const std::vector<MirrorFigures>& mirrors);

}  // namespace sluice::admin
