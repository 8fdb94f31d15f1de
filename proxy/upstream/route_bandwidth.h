#pragma once

#include <cstdint>
#include <memory>

#include "iolib/balance/bandwidth.h"

namespace sluice {

struct Route;

/// What `route-bandwidth` leaves to a route in each direction. All workers share it. Any thread.
struct RouteBandwidth {
  explicit RouteBandwidth(std::uint64_t bytes_per_second)
      : to_upstream(bytes_per_second), to_client(bytes_per_second) {}
  /// The new limit also holds for the connections that the route has. 0 lifts it.
  void set(std::uint64_t bytes_per_second) {
    to_upstream.set(bytes_per_second);
    to_client.set(bytes_per_second);
  }

  balance::SharedBandwidth to_upstream;
  balance::SharedBandwidth to_client;
};

/// The limits of one connection of the route; null if there is none. They borrow from the route.
[[nodiscard]] std::unique_ptr<balance::Throttle> throttle_to_upstream(const Route& route);
[[nodiscard]] std::unique_ptr<balance::Throttle> throttle_to_client(const Route& route);

}  // namespace sluice
