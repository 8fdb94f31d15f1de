#pragma once

#include <string>

#include "tools/common/json.h"

namespace sluice::bench {

/// A document as one self-contained page: the tables, bar charts with their spread, latency
/// percentile curves, and all that is needed to repeat the run. Loads nothing, in light and dark.
[[nodiscard]] std::string to_html(const json::object& document);

}  // namespace sluice::bench
