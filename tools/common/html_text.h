#pragma once

#include <string>
#include <string_view>

namespace sluice::html {

/// What stands where there is no figure.
inline constexpr std::string_view kNothing = "–";

/// For text and for quoted attributes. Characters that HTML does not allow become U+FFFD.
[[nodiscard]] std::string escape(std::string_view text);

/// Escaped, and may be broken after each '/', so that a long unit fits a narrow column.
[[nodiscard]] std::string escape_breakable(std::string_view text);

/// At most `most` characters, the last of them '…' if some are left out. Not escaped.
[[nodiscard]] std::string shorten(std::string_view text, std::size_t most);

/// In UTF-8 characters.
[[nodiscard]] std::size_t length_of(std::string_view text);

/// 1234567.5 with one digit: "1,234,567.5".
[[nodiscard]] std::string grouped(double value, int digits);

/// "×1.23"; small ones with more digits.
[[nodiscard]] std::string as_ratio(double value);

/// A binary size: "23.5 GiB".
[[nodiscard]] std::string as_bytes(double bytes);

/// A coordinate of a drawing.
[[nodiscard]] std::string coordinate(double value);

/// A line of a drawing, and a text that ends, is centred or begins at a point (SVG's "end",
/// "middle", "start"). The text is escaped here.
[[nodiscard]] std::string line_element(std::string_view name, double x1, double y1, double x2,
                                       double y2);
[[nodiscard]] std::string text_element(std::string_view anchor, double x, double y,
                                       std::string_view text);

}  // namespace sluice::html
