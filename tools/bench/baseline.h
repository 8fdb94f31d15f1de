#pragma once

#include <string>

#include "tools/common/json.h"

namespace sluice::bench {

/// What has changed between two documents, for a reader: for each figure that both have, the old
/// and the new median, their ratio, and whether the two runs' spreads are apart ("better",
/// "worse") or overlap ("within the spread"). Where both runs have ratios to one and the same
/// baseline, those are what is judged, since figures drift with the machine; else the figures
/// themselves, and it says so. Nothing is said of less than three runs, nor of figures that are
/// not compared. What only the earlier one has is named. Says where the machines and the settings
/// differ, since figures of different machines say nothing about programs.
[[nodiscard]] std::string compare_documents(const json::object& before, const json::object& after);

}  // namespace sluice::bench
