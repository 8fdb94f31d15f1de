#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "iolib/balance/sorted_ranges.h"
#include "iolib/base/address.h"
#include "iolib/base/prefix.h"

namespace sluice::balance {

/// Which addresses may come in. Of the blocks that contain an address the most specific one counts;
/// of two equal ones the one that denies. An address in no block is denied if anything is allowed,
/// and allowed otherwise. IPv4-mapped addresses are IPv4.
///
/// It never changes; any thread may ask it.
class PrefixSet {
 public:
  PrefixSet(std::span<const Prefix> allowed, std::span<const Prefix> denied);

  /// The unnamed address is that of a client of a unix socket.
  [[nodiscard]] bool allows(const SocketAddress& address) const;
  /// The memory that it takes.
  [[nodiscard]] std::size_t size_bytes() const { return v4_.size_bytes() + v6_.size_bytes(); }
  /// Whether both allow the same addresses.
  friend bool operator==(const PrefixSet&, const PrefixSet&) = default;

 private:
  SortedRanges<std::uint32_t> v4_;  ///< the side `true` is allowed
  SortedRanges<Wide> v6_;
  bool allows_unix_;
};

}  // namespace sluice::balance
