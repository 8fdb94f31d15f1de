#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "iolib/json/json.h"

namespace sluice::capture {

/// `text` with everything but printable ASCII escaped, so that bytes from a peer or a capture
/// cannot control the terminal.
[[nodiscard]] std::string printable(std::string_view text);
/// Formats nanoseconds since the epoch as "2026-11-24T09:30:00.000000001Z".
[[nodiscard]] std::string format_time(std::uint64_t wall_ns);
/// Two lowercase hexadecimal digits for each byte.
[[nodiscard]] std::string to_hex(std::span<const std::byte> bytes);
/// The bytes as text. Borrows them.
[[nodiscard]] std::string_view text_of(std::span<const std::byte> bytes);

/// The tail of a JSON document that is an object and starts with an array: closes the array, then
/// adds the members of `rest` and, if it is not empty, `error`, and closes the object.
[[nodiscard]] std::string json_end(json::object rest, std::string_view error);

}  // namespace sluice::capture
