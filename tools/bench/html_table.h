#pragma once

#include <string>
#include <vector>

#include "tools/bench/html_look.h"
#include "tools/bench/html_model.h"

namespace sluice::bench::html {

/// Whether each row of a section is the best competitor in one column. None is if fewer than two
/// compete, or all show the same digits. A row with fewer valid runs than another does not compete.
[[nodiscard]] std::vector<bool> best_of(const Section& section, std::size_t column,
                                        const Looks& looks);

/// The medians with their spread and their ratios to the baseline. Columns are split over as many
/// tables as fit a narrow page; the columns of one part stay together.
[[nodiscard]] std::string figures_table(const Section& section, const Looks& looks);

/// "↑" if higher is better, else "↓".
[[nodiscard]] std::string direction(const Column& column);

/// A ratio as text. It starts with "~" if it is not sure.
[[nodiscard]] std::string ratio_text(const Spread& ratio);
/// Whether the ratios of all rounds are on the same side of 1.
[[nodiscard]] bool is_sure(const Spread& ratio);

}  // namespace sluice::bench::html
