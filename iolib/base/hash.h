#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// Hashes that are the same in every run and on every host. Against chosen keys they give no
// protection.
namespace sluice {

/// FNV-1a with 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/. With the result for earlier
/// bytes as `hash`, it goes on from there. The last bytes hardly affect the upper bits, so pass the
/// result to finalized().
[[nodiscard]] constexpr std::uint64_t fnv1a(std::span<const std::byte> bytes,
                                            std::uint64_t hash = 0xcbf29ce484222325) {
  for (const std::byte byte : bytes) {
    hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

/// MurmurHash3's finalizer with 64 bits: each bit of `hash` affects all bits of the result.
/// Different numbers have different results.
[[nodiscard]] constexpr std::uint64_t finalized(std::uint64_t hash) {
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53;
  return hash ^ (hash >> 33);
}

}  // namespace sluice
