#pragma once

#include <cstdint>

#include "iolib/base/address.h"

namespace sluice::mirror {

/// A share of connections is told in millionths.
inline constexpr std::uint32_t kWholeShare = 1'000'000;

/// A number that depends on the client's address and port alone, the same in every run, on every
/// host: FNV-1a (64 bits) over the 4 or 16 bytes of the address and the 2 of the port, most
/// significant first, then MurmurHash3's finalizer. The unnamed address gives the hash of nothing.
[[nodiscard]] std::uint64_t sample_hash(const SocketAddress& client);
/// For clients without an address: the same over the 8 bytes of a number.
[[nodiscard]] std::uint64_t sample_hash(std::uint64_t number);

/// Whether a connection with this hash is among the share: a larger share has all that a smaller
/// one has.
[[nodiscard]] constexpr bool in_sample(std::uint64_t hash, std::uint32_t share) {
  return hash % kWholeShare < share;
}

}  // namespace sluice::mirror
