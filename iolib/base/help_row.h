#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice {

/// Where the texts of a list of options begin, in a help of one line for each.
inline constexpr std::size_t kHelpColumn = 28;

/// One row of a help that fits a terminal of 80 columns: `left` is indented by two spaces, and the
/// words of `text` stand in a column of their own, below `left` where that reaches into it.
[[nodiscard]] std::string help_row(std::string_view left, std::string_view text,
                                   std::size_t column = kHelpColumn);

/// What a help of one line for each option shows of its text.
[[nodiscard]] std::string_view first_sentence(std::string_view text);

}  // namespace sluice
