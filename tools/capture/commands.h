#pragma once

#include "tools/capture/options.h"

namespace sluice::capture {

// --- Exit statuses ---
inline constexpr int kFailed = 1;
inline constexpr int kTorn = 3;
inline constexpr int kGaps = 4;
inline constexpr int kDamage = 5;

// Each runs the command of its name, as sluice-capture(1) describes it.
Run run_ls, run_stat, run_cat, run_show, run_search, run_follow, run_extract, run_export,
    run_verify, run_recover;

}  // namespace sluice::capture
