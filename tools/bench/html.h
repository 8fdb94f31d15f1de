#pragma once

#include <string>

#include "iolib/json/json.h"
#include "iolib/page/page.h"

namespace sluice::bench {

/// A document as one self-contained HTML page: tables, bar charts with spreads, latency percentile
/// curves, and everything that is needed to repeat the run.
[[nodiscard]] std::string to_html(json::object document);

/// report.js, which draws the page.
extern const page::Asset kReportScript;

}  // namespace sluice::bench
