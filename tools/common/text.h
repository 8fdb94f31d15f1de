#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tools/common/json.h"

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

/// The end of a document that is an object and begins with an array, behind that array's last
/// element: the `rest` of the object, and `error`, if there is one.
[[nodiscard]] std::string json_end(json::object rest, std::string_view error);

}  // namespace sluice::capture
