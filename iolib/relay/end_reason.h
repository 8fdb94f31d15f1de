#pragma once

#include <cstdint>

namespace sluice {

/// Why a connection ended: its first reason.
enum class EndReason : std::uint8_t {
  none,  ///< it has not ended
  // Found by a relay.
  closed,  ///< both directions ended in order
  client_reset,
  upstream_reset,
  idle_timeout,
  half_close_timeout,
  // Given by the code that stops a relay, or that never begins one.
  left,  ///< the peer left before it said anything
  denied,
  // Limited, and by what:
  over_source_connections,
  over_source_rate,
  over_route_connections,
  over_server_connections,
  queue_full,
  queue_timeout,  ///< it waited too long for a place
  proxy_header,
  peek_timeout,
  no_route,  ///< no match fits, and the route has no target of its own
  connect_refused,
  connect_timeout,
  connect_failed,
  no_server,
  file_failed,
  capture_failed,
  server_down,
  killed,  ///< on an order
  drain_timeout,
};

}  // namespace sluice
