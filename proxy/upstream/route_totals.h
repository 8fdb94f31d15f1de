#pragma once

#include <array>
#include <cstdint>

#include "proxy/log/ending.h"
#include "proxy/upstream/route.h"

namespace sluice {

/// What all workers have counted for a route so far. Numbers that change meanwhile need not fit
/// together exactly.
struct RouteTotals {
  /// Of one direction.
  struct Bytes {
    std::uint64_t forwarded = 0;
    std::uint64_t spliced = 0;
  };
  std::uint64_t accepted = 0;
  std::uint64_t active = 0;
  std::uint64_t retries = 0;
  Bytes to_upstream;
  Bytes to_client;
};
/// How many connections of a route have ended, by ending_index().
using RouteEnds = std::array<std::uint64_t, kEndings.size()>;

// Any thread.

[[nodiscard]] RouteTotals totals_of(const Route& route);
/// The part of totals_of() that processes have counted from which this one has taken over.
[[nodiscard]] RouteTotals inherited_totals_of(const Route& route);
[[nodiscard]] RouteEnds ends_of(const Route& route);

}  // namespace sluice
