#pragma once

#include <cstddef>
#include <string>

namespace sluice::html {

/// A complete HTML page. It has no script and loads nothing; its Content-Security-Policy enforces
/// that. `title` and `heading` are escaped here; `body` is HTML, which the caller has escaped.
[[nodiscard]] std::string page(const std::string& title, const std::string& heading,
                               const std::string& body);

/// A highlighted note; `html` is HTML.
[[nodiscard]] std::string note(const std::string& html);

/// A count with its noun: "1 round", "2 rounds".
[[nodiscard]] std::string counted(std::size_t count, const std::string& what);

/// Formats a time such as "2026-11-23T23:13:18Z" for reading.
[[nodiscard]] std::string when(std::string started);

}  // namespace sluice::html
