#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "proxy/config/config.h"

namespace sluice {

/// A configured address, and the group of its listening sockets.
struct OpenAddress {
  std::size_t group = 0;  ///< never reused
  ListenAddress address;
  std::size_t route = 0;  ///< index in the configuration
};

/// What becomes of the listening addresses when the configuration changes.
struct ListenPlan {
  std::vector<OpenAddress> kept;     ///< with the route that they now lead to
  std::vector<OpenAddress> added;    ///< with new groups
  std::vector<OpenAddress> removed;  ///< as they were
};

/// The addresses of a configuration, with the groups 0, 1, ….
[[nodiscard]] std::vector<OpenAddress> addresses_of(const Config& config);
/// An address that stays keeps its sockets, whatever route has it now; one of port 0 only if its
/// route stays, which the kernel chose the port for. `continues`: see ConfigDiff. Pure, except that
/// paths of unix sockets are normalized.
[[nodiscard]] ListenPlan plan_listeners(std::span<const OpenAddress> open, const Config& to,
                                        std::span<const std::optional<std::size_t>> continues,
                                        std::size_t next_group);

}  // namespace sluice
