#pragma once

#include "iolib/base/error.h"
#include "tools/capture/options.h"

namespace sluice::capture {

// --- Exit statuses ---
inline constexpr int kFailed = 1;
inline constexpr int kTorn = 3;
inline constexpr int kGaps = 4;
inline constexpr int kDamage = 5;

// Each runs the command of its name, as sluice-capture(1) describes it. Returns the exit status, or
// the error that ended the command.
[[nodiscard]] Result<int> run_ls(const Invocation& invocation);
[[nodiscard]] Result<int> run_stat(const Invocation& invocation);
[[nodiscard]] Result<int> run_cat(const Invocation& invocation);
[[nodiscard]] Result<int> run_show(const Invocation& invocation);
[[nodiscard]] Result<int> run_search(const Invocation& invocation);
[[nodiscard]] Result<int> run_follow(const Invocation& invocation);
[[nodiscard]] Result<int> run_extract(const Invocation& invocation);
[[nodiscard]] Result<int> run_export(const Invocation& invocation);
[[nodiscard]] Result<int> run_verify(const Invocation& invocation);
[[nodiscard]] Result<int> run_recover(const Invocation& invocation);

}  // namespace sluice::capture
