#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice {

/// CRC32C (RFC 3720) of `bytes`, continuing from `before`, the CRC of what came before them:
/// several GB/s.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);

/// The CRC32C of A followed by B, from that of each and B's length: a fraction of a microsecond,
/// whatever the length.
[[nodiscard]] std::uint32_t crc32c_combine(std::uint32_t a, std::uint32_t b, std::uint64_t b_bytes);

}  // namespace sluice
