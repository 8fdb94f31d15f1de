#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "iolib/base/error.h"

namespace sluice {

/// `text` in double quotes, safe for one line of a message. Quotes, backslashes and control
/// characters are escaped. Text over kQuotedBytes is cut and marked with "...".
[[nodiscard]] std::string in_quotes(std::string_view text);

/// `text` with its control characters escaped, so that a message stays one line. For messages that
/// contain a path or text from outside.
[[nodiscard]] std::string one_line(std::string_view text);

/// `text` as valid UTF-8 for JSON: each byte of an invalid sequence, or of a control character from
/// U+0080 to U+009F, becomes U+FFFD.
[[nodiscard]] std::string valid_utf8(std::string_view text);

/// A parse error: `what` is wrong in `text`, and `expected` says what to write instead.
[[nodiscard]] Error bad_text(std::string_view what, std::string_view text,
                             std::string_view expected);

[[nodiscard]] constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
/// The value of a hexadecimal digit of either case; nullopt if it is none.
[[nodiscard]] constexpr std::optional<unsigned> hex_digit(char c) {
  if (is_digit(c)) return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

/// The longest quotation. It keeps messages readable, and bounds what hostile input writes to a
/// log.
inline constexpr std::size_t kQuotedBytes = 128;

}  // namespace sluice
