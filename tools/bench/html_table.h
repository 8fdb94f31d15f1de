#pragma once

#include <string>
#include <vector>

#include "tools/bench/html_look.h"
#include "tools/bench/html_model.h"

namespace sluice::bench::html {

/// For each row of a section: whether it is the best of those that compete, in one column. None is
/// where fewer than two compete (those with fewer valid runs than others do not), or where they do
/// not differ in the digits that are shown.
[[nodiscard]] std::vector<bool> best_of(const Section& section, std::size_t column,
                                        const Looks& looks);

/// Medians with their spread and their ratios to the baseline: as many tables as the columns need
/// on a narrow page, with all columns of a part in one.
[[nodiscard]] std::string figures_table(const Section& section, const Looks& looks);

/// "↑" or "↓", whichever is better.
[[nodiscard]] std::string direction(const Column& column);

/// A ratio with "~" before it where the rounds do not agree on which of the two is more.
[[nodiscard]] std::string ratio_text(const Spread& ratio);
[[nodiscard]] bool is_sure(const Spread& ratio);

}  // namespace sluice::bench::html
