#pragma once

#include <cstdint>

namespace sluice {

/// Why a connection ended: the first reason that there was.
enum class EndReason : std::uint8_t {
  none,  ///< it has not ended
  // What a relay finds.
  closed,  ///< both directions ended in order
  client_reset,
  upstream_reset,
  idle_timeout,
  half_close_timeout,
  // Whoever stops a relay, or never begins one, has one of these.
  connect_refused,
  connect_timeout,
  connect_failed,
  file_failed,
  capture_failed,
  drain_timeout,
};

}  // namespace sluice
