#pragma once

#include <string>

#include "iolib/json/json.h"

namespace sluice::bench {

/// A document as one self-contained HTML page: tables, bar charts with spreads, latency percentile
/// curves, and everything that is needed to repeat the run. It loads nothing, and suits light and
/// dark mode.
[[nodiscard]] std::string to_html(const json::object& document);

}  // namespace sluice::bench
