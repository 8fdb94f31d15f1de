#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "iolib/relay/end_reason.h"

namespace sluice {

/// What the summary counts the ends of connections as.
enum class EndGroup : std::uint8_t {
  closed,  ///< ended without an error
  client_resets,
  upstream_resets,
  connect_failures,
  timeouts,  ///< idle or half-closed for too long
  stopped,   ///< ended by a drain deadline, an order, a failed capture or a server that is down
  refused,   ///< not served: whoever connected may not, or did not say who it is
};
inline constexpr std::array<std::string_view, 7> kEndGroupNames = {
    "closed",   "client_resets", "upstream_resets", "connect_failures",
    "timeouts", "stopped",       "refused"};

/// An end of a connection, as the log and the counters name it.
struct Ending {
  EndReason reason;
  std::string_view name;  ///< of several reasons, if these stand next to each other
  EndGroup group;
  std::string_view limit = {};  ///< the key whose limit it is, if it is one

  /// What the counts of clients that were turned away call it.
  [[nodiscard]] constexpr std::string_view rejection() const {
    return limit.empty() ? name : limit;
  }
};
/// One entry per reason but `none`, in their order.
inline constexpr auto kEndings = std::to_array<Ending>({
    {EndReason::closed, "closed", EndGroup::closed},
    {EndReason::client_reset, "client_reset", EndGroup::client_resets},
    {EndReason::upstream_reset, "upstream_reset", EndGroup::upstream_resets},
    {EndReason::idle_timeout, "idle_timeout", EndGroup::timeouts},
    {EndReason::half_close_timeout, "half_close_timeout", EndGroup::timeouts},
    {EndReason::left, "left", EndGroup::closed},
    {EndReason::denied, "denied", EndGroup::refused},
    {EndReason::over_source_connections, "limited", EndGroup::refused, "source-connections"},
    {EndReason::over_source_rate, "limited", EndGroup::refused, "source-rate"},
    {EndReason::over_route_connections, "limited", EndGroup::refused, "route-connections"},
    {EndReason::over_server_connections, "limited", EndGroup::refused, "server-connections"},
    {EndReason::queue_full, "queue_full", EndGroup::refused},
    {EndReason::queue_timeout, "queue_timeout", EndGroup::refused},
    {EndReason::proxy_header, "proxy_header", EndGroup::refused},
    {EndReason::peek_timeout, "peek_timeout", EndGroup::timeouts},
    {EndReason::no_route, "no_route", EndGroup::refused},
    {EndReason::connect_refused, "connect_refused", EndGroup::connect_failures},
    {EndReason::connect_timeout, "connect_timeout", EndGroup::connect_failures},
    {EndReason::connect_failed, "connect_failed", EndGroup::connect_failures},
    {EndReason::no_server, "no_server", EndGroup::connect_failures},
    {EndReason::file_failed, "file_failed", EndGroup::connect_failures},
    {EndReason::capture_failed, "capture_failed", EndGroup::stopped},
    {EndReason::server_down, "server_down", EndGroup::stopped},
    {EndReason::killed, "killed", EndGroup::stopped},
    {EndReason::drain_timeout, "drain_timeout", EndGroup::stopped},
});

/// Of a reason that is not `none`.
constexpr std::size_t ending_index(EndReason reason) {
  return static_cast<std::size_t>(reason) - 1;
}
static_assert(
    [] {
      for (std::size_t i = 0; i < kEndings.size(); ++i) {
        if (ending_index(kEndings[i].reason) != i) return false;
      }
      return ending_index(EndReason::drain_timeout) == kEndings.size() - 1;
    }(),
    "in the order of the reasons, from the first to the last");

/// Whether a client was turned away. That can happen very often, so not each has a line in the log.
constexpr bool is_rejection(EndReason reason) {
  return reason != EndReason::none && kEndings[ending_index(reason)].group == EndGroup::refused;
}

/// Calls `visit` with each name of an end and with how many ended so, of counts by ending_index().
template <class Counts, class Visit>
void for_each_end(const Counts& counts, const Visit& visit) {
  for (std::size_t i = 0; i < kEndings.size();) {
    const std::string_view name = kEndings[i].name;
    std::uint64_t count = 0;
    for (; i < kEndings.size() && kEndings[i].name == name; ++i) count += counts[i];
    visit(name, count);
  }
}

/// Calls `visit` with each way to be turned away and with how many were.
template <class Counts, class Visit>
void for_each_rejection(const Counts& counts, const Visit& visit) {
  for (std::size_t i = 0; i < kEndings.size(); ++i) {
    if (is_rejection(kEndings[i].reason)) visit(kEndings[i].rejection(), counts[i]);
  }
}

/// Of a connection that has ended.
inline const Ending& ending_of(EndReason reason) {
  assert(reason != EndReason::none);
  return kEndings[ending_index(reason)];
}

}  // namespace sluice
