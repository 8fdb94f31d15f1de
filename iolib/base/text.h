#pragma once

#include <string>
#include <string_view>

namespace sluice {

/// `text` in double quotes, fit for one line of a message whatever it holds: quotes, backslashes
/// and control characters are escaped, and what passes kQuotedBytes is cut and marked with "...".
[[nodiscard]] std::string in_quotes(std::string_view text);

/// `text` with its control characters escaped: a message that holds a path or another's words and
/// must stay one line.
[[nodiscard]] std::string one_line(std::string_view text);

/// A message stays readable, and a hostile input cannot flood a log with it.
inline constexpr std::size_t kQuotedBytes = 128;

}  // namespace sluice
