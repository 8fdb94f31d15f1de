#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace sluice {

/// The decimal number in a variable of the environment; nullopt if it is not set, or no number.
[[nodiscard]] inline std::optional<std::uint64_t> number_of_variable(const char* name) {
  const char* const set = std::getenv(name);
  if (set == nullptr) return std::nullopt;
  const std::string_view text(set);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace sluice
