#pragma once

#include <cstddef>
#include <string>

namespace sluice::html {

/// A whole page of its own, without any script and without anything from elsewhere, whatever the
/// names in it hold. `title` and `heading` are escaped here, `body` is HTML.
[[nodiscard]] std::string page(const std::string& title, const std::string& heading,
                               const std::string& body);

/// What the reader must not miss; `html` is HTML.
[[nodiscard]] std::string note(const std::string& html);

/// "1 round", "2 rounds".
[[nodiscard]] std::string counted(std::size_t count, const std::string& what);

/// "2026-11-23T23:13:18Z" for a reader.
[[nodiscard]] std::string when(std::string started);

}  // namespace sluice::html
