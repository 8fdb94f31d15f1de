#pragma once

#include <string>
#include <string_view>

namespace sluice::html {

/// Shown where a figure is missing.
inline constexpr std::string_view kNothing = "–";

/// Escapes for HTML text and quoted attributes. Characters that HTML does not allow become U+FFFD.
[[nodiscard]] std::string escape(std::string_view text);

/// Escapes, and allows a line break after each '/', so that a long unit fits a narrow column.
[[nodiscard]] std::string escape_breakable(std::string_view text);

/// At most `most` characters of `text`; if some are cut, the last one is '…'. Does not escape.
[[nodiscard]] std::string shorten(std::string_view text, std::size_t most);

/// The length in UTF-8 characters.
[[nodiscard]] std::size_t length_of(std::string_view text);

/// Groups digits: 1234567.5 with one digit is "1,234,567.5".
[[nodiscard]] std::string grouped(double value, int digits);

/// Formats a ratio as "×1.23"; small ratios get more digits.
[[nodiscard]] std::string as_ratio(double value);

/// Formats a size with a binary unit: "23.5 GiB".
[[nodiscard]] std::string as_bytes(double bytes);

/// Formats a coordinate for SVG.
[[nodiscard]] std::string coordinate(double value);

/// SVG elements: a line, and a text whose anchor ("start", "middle" or "end") is at the point.
/// `text` is escaped here.
[[nodiscard]] std::string line_element(std::string_view name, double x1, double y1, double x2,
                                       double y2);
[[nodiscard]] std::string text_element(std::string_view anchor, double x, double y,
                                       std::string_view text);

}  // namespace sluice::html
