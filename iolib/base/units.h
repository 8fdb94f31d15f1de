#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "iolib/base/error.h"

namespace sluice {

/// Parses "5s", "200ms", "1h", "1m30s". The units are ns, us, ms, s, m, h and d; each occurs at
/// most once, the largest first. A bare number is an error ("missing unit"), except 0.
[[nodiscard]] Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

/// Parses one number with a unit: B; KiB, MiB, GiB, TiB (powers of 1024); kB, MB, GB, TB (powers of
/// 1000). A bare number is an error ("missing unit"), except 0.
[[nodiscard]] Result<std::uint64_t> parse_size_bytes(std::string_view text);

/// The text that parses back to the same value, the largest units first, without zero parts
/// ("1m30s", "0s").
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);
/// The shortest text that parses back to the same value: "1MiB", "1500B".
[[nodiscard]] std::string format_size_bytes(std::uint64_t size_bytes);

}  // namespace sluice
