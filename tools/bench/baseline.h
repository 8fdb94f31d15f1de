#pragma once

#include <string>

#include "iolib/json/json.h"

namespace sluice::bench {

/// - For each figure that both have: both medians, their ratio, and a verdict.
/// - The verdict is "better" or "worse" where the two runs' spreads do not overlap, otherwise
///   "within the spread". Where both documents have ratios to the same baseline, it judges the
///   ratios, because figures drift with the machine. Otherwise it judges the figures themselves,
///   and says so.
/// - There is no verdict below three valid runs, or for a figure that is not compared.
/// - Contenders and workloads that only the earlier document has are listed.
/// - Differences in machine and settings are listed: figures of different machines say nothing
///   about the programs.
[[nodiscard]] std::string compare_documents(const json::object& before, const json::object& after);

}  // namespace sluice::bench
