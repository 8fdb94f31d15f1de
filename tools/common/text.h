#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sluice::capture {

/// `text` with all but printable ASCII escaped: nothing that a peer sent, or a capture says,
/// reaches the terminal as control characters.
[[nodiscard]] std::string printable(std::string_view text);
/// `text` as UTF-8, for JSON: what is none, and control characters beyond ASCII's, becomes U+FFFD.
[[nodiscard]] std::string valid_utf8(std::string_view text);
/// "2026-11-24T09:30:00.000000001Z"
[[nodiscard]] std::string format_time(std::uint64_t wall_ns);
[[nodiscard]] std::string to_hex(std::span<const std::byte> bytes);
[[nodiscard]] std::string_view text_of(std::span<const std::byte> bytes);

}  // namespace sluice::capture
