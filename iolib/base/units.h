#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "iolib/base/error.h"

namespace sluice {

/// "5s", "200ms", "1h", "1m30s"; units ns us ms s m h d, each once and the largest first. A bare
/// number is refused ("missing unit"), except 0.
[[nodiscard]] Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

/// "4096B", "64KiB", "1MiB", "2GiB", "10kB", "5MB", "1GB" (powers of 1000); TiB and TB too. A bare
/// number is refused ("missing unit"), except 0.
[[nodiscard]] Result<std::uint64_t> parse_size_bytes(std::string_view text);

/// Parses back to the same value: the largest units first, without empty parts ("1m30s", "0s").
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);
/// The shortest text that parses back to the same value: "1MiB", "1500B".
[[nodiscard]] std::string format_size_bytes(std::uint64_t size_bytes);

}  // namespace sluice
