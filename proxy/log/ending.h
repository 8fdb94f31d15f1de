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
  std::string_view name;
  EndGroup group;
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
    {EndReason::limited, "limited", EndGroup::refused},
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

/// Whether a client was turned away for what it is, or because there were too many. That can happen
/// very often, so not each has a line in the log.
constexpr bool is_rejection(EndReason reason) {
  return reason == EndReason::denied || reason == EndReason::limited;
}

/// Of a connection that has ended.
inline const Ending& ending_of(EndReason reason) {
  assert(reason != EndReason::none);
  return kEndings[ending_index(reason)];
}

}  // namespace sluice
