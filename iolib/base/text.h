#pragma once

#include <string>
#include <string_view>

#include "iolib/base/error.h"

namespace sluice {

/// `text` in double quotes, fit for one line of a message whatever it holds: quotes, backslashes
/// and control characters are escaped, and what passes kQuotedBytes is cut and marked with "...".
[[nodiscard]] std::string in_quotes(std::string_view text);

/// `text` with its control characters escaped: a message that holds a path or another's words and
/// must stay one line.
[[nodiscard]] std::string one_line(std::string_view text);

/// `what` is wrong with `text`, and what was expected instead.
[[nodiscard]] Error bad_text(std::string_view what, std::string_view text,
                             std::string_view expected);

[[nodiscard]] constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// A message stays readable, and a hostile input cannot flood a log with it.
inline constexpr std::size_t kQuotedBytes = 128;

}  // namespace sluice
