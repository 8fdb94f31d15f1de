#pragma once

#include <cstdint>

#include "iolib/base/address.h"

namespace sluice::mirror {

/// Shares of connections are given in millionths.
inline constexpr std::uint32_t kWholeShare = 1'000'000;

/// A hash of the client's address and port alone: the same in every run and on every host. It is
/// FNV-1a (64 bits) over the 4 or 16 bytes of the address and the 2 bytes of the port, most
/// significant byte first, then MurmurHash3's finalizer. An unnamed address gives the hash of no
/// bytes.
[[nodiscard]] std::uint64_t sample_hash(const SocketAddress& client);
/// For clients without an address: the same hash over the 8 bytes of a number.
[[nodiscard]] std::uint64_t sample_hash(std::uint64_t number);

/// Whether a connection with this hash belongs to the share. A larger share contains every smaller
/// one.
[[nodiscard]] constexpr bool in_sample(std::uint64_t hash, std::uint32_t share) {
  return hash % kWholeShare < share;
}

}  // namespace sluice::mirror
