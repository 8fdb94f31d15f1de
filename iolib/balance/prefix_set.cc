#include "iolib/balance/prefix_set.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <tuple>

namespace sluice::balance {
namespace {

template <class Whole>
Whole whole_at(std::span<const std::byte> bytes, std::size_t place) {
  Whole number = 0;
  std::memcpy(&number, &bytes[place], sizeof number);
  if constexpr (std::endian::native == std::endian::big) return number;
  return sizeof number == 4
             ? static_cast<Whole>(__builtin_bswap32(static_cast<std::uint32_t>(number)))
             : static_cast<Whole>(__builtin_bswap64(number));
}

template <class Number>
Number number_of(std::span<const std::byte> host) {
  if constexpr (sizeof(Number) == 4) {
    return whole_at<std::uint32_t>(host, 0);
  } else {
    return {whole_at<std::uint64_t>(host, 0), whole_at<std::uint64_t>(host, 8)};
  }
}

// The last address of a block.
std::uint32_t last_of(std::uint32_t first, unsigned bits) {
  return first | (bits == 32 ? 0 : std::numeric_limits<std::uint32_t>::max() >> bits);
}
Wide last_of(Wide first, unsigned bits) {
  constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();
  if (bits < 64) return {first.high | kAll >> bits, kAll};
  return {first.high, first.low | (bits == 128 ? 0 : kAll >> (bits - 64))};
}

// The address after this one; the first one after the last.
std::uint32_t next_of(std::uint32_t number) { return number + 1; }
Wide next_of(Wide number) {
  ++number.low;
  if (number.low == 0) ++number.high;
  return number;
}

template <class Number>
struct Block {
  Number first;
  std::uint8_t bits;
  bool allowed;
};

template <class Number>
std::vector<Block<Number>> blocks_of(std::span<const Prefix> allowed,
                                     std::span<const Prefix> denied, int family) {
  std::vector<Block<Number>> blocks;
  const auto add = [&](std::span<const Prefix> prefixes, bool allows) {
    for (const Prefix& each : prefixes) {
      if (each.family() != family) continue;
      blocks.push_back(
          {number_of<Number>(each.host_bytes()), static_cast<std::uint8_t>(each.bits()), allows});
    }
  };
  const auto is_of = [family](const Prefix& each) { return each.family() == family; };
  blocks.reserve(static_cast<std::size_t>(std::ranges::count_if(allowed, is_of) +
                                          std::ranges::count_if(denied, is_of)));
  add(allowed, true);
  add(denied, false);
  return blocks;
}

// Blocks contain each other or have nothing in common, so those around an address are a stack. It
// is at most as deep as an address has bits, twice for equal blocks.
template <class Number>
SortedRanges<Number> ranges_of(std::vector<Block<Number>> blocks, bool usual) {
  std::ranges::sort(blocks, [](const auto& a, const auto& b) {
    if (a.first < b.first || b.first < a.first) return a.first < b.first;
    return std::tuple(a.bits, b.allowed) < std::tuple(b.bits, a.allowed);
  });
  struct Open {
    Number last;
    bool allowed;
  };
  SortedRanges<Number> ranges(usual);
  std::vector<Open> around;
  const auto close = [&] {
    const Number next = next_of(around.back().last);
    around.pop_back();
    if (next == Number{}) return;  // it was the last of all addresses
    ranges.set(next, around.empty() ? usual : around.back().allowed);
  };
  for (const auto& [first, bits, allowed] : blocks) {
    while (!around.empty() && around.back().last < first) close();
    around.push_back({last_of(first, bits), allowed});
    ranges.set(first, allowed);
  }
  while (!around.empty()) close();
  ranges.finish();
  return ranges;
}

bool has_unix(std::span<const Prefix> prefixes) {
  return std::ranges::find(prefixes, AF_UNSPEC, &Prefix::family) != prefixes.end();
}

}  // namespace

PrefixSet::PrefixSet(std::span<const Prefix> allowed, std::span<const Prefix> denied)
    : v4_(ranges_of(blocks_of<std::uint32_t>(allowed, denied, AF_INET), allowed.empty())),
      v6_(ranges_of(blocks_of<Wide>(allowed, denied, AF_INET6), allowed.empty())),
      allows_unix_(!has_unix(denied) && (allowed.empty() || has_unix(allowed))) {}

bool PrefixSet::allows(const SocketAddress& address) const {
  const std::span<const std::byte> host = address.host_bytes();
  switch (address.family()) {
    case AF_INET:
      return v4_.side(number_of<std::uint32_t>(host));
    case AF_INET6:
      return v6_.side(number_of<Wide>(host));
    default:
      return allows_unix_;
  }
}

}  // namespace sluice::balance
