#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "iolib/json/json.h"
#include "iolib/page/page.h"
#include "tools/common/histogram.h"
#include "tools/replay/options.h"
#include "tools/replay/plan.h"
#include "tools/replay/tally.h"

namespace sluice::replay {

// --- Exit statuses, besides 0 and that of wrong usage ---
inline constexpr int kFailed = 1;
inline constexpr int kGaps = 4;
inline constexpr int kDiffers = 6;
inline constexpr int kInterrupted = 130;

/// Everything that the reports show. The references must outlive it.
struct Outcome {
  const Invocation& invocation;
  const Plan& plan;
  const Tally& tally;
  std::string began;  ///< "2026-11-24T09:30:00Z"
  bool interrupted = false;
};

/// The exit status of the program.
[[nodiscard]] int status_of(const Outcome& outcome);

/// The percentiles that reports show, with their names.
inline constexpr std::pair<double, const char*> kPercentiles[] = {
    {50, "p50"}, {90, "p90"}, {99, "p99"}, {99.9, "p99.9"}, {99.99, "p99.99"}};
/// A percentile of a histogram, in µs.
[[nodiscard]] double percentile(const Histogram& of, double percentile);

/// One line for each kind of connection that was not replayed, or not completely; empty if there is
/// none.
[[nodiscard]] std::vector<std::string> remarks(const Outcome& outcome);
/// A difference in one line: "then 120 bytes, eof, 1.2 ms; now ...", and where the first byte
/// differs.
[[nodiscard]] std::string describe(const Difference& difference);

/// The report as text, as JSON, and as an HTML page.
[[nodiscard]] std::string to_text(const Outcome& outcome);
[[nodiscard]] json::object to_json(const Outcome& outcome);
[[nodiscard]] std::string to_html(const Outcome& outcome);
/// report.js, which draws the page.
extern const page::Asset kReportScript;

}  // namespace sluice::replay
