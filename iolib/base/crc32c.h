#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice {

/// The CRC32C (RFC 3720) of `bytes`, continued from `before`, the CRC of the bytes before them.
/// Runs at several GB/s.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);

/// The CRC32C of A followed by B, from their CRCs and the length of B. Takes under a microsecond
/// for any length.
[[nodiscard]] std::uint32_t crc32c_combine(std::uint32_t a, std::uint32_t b, std::uint64_t b_bytes);

}  // namespace sluice
