#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "iolib/balance/maglev.h"
#include "proxy/config/config.h"
#include "proxy/upstream/server.h"

namespace sluice {

/// The servers of a route at one moment. It never changes; all workers share it.
struct ServerSet {
  /// Servers that are used before those of the next tier.
  struct Tier {
    std::vector<std::uint32_t> members;  ///< indices of the servers with a weight
    std::shared_ptr<const balance::Maglev>
        table;  ///< of `members`; null unless picks follow the source
  };
  Balance balance = Balance::two_choices;
  std::vector<ServerRef> servers;  ///< in the order of the configuration
  std::array<Tier, 2> tiers;       ///< all but the backups, then the backups
};

/// The addresses of a target that need no look-up: of a numeric host, loopback for an empty one,
/// and of unix sockets. Empty for names and for targets that are no servers.
[[nodiscard]] std::vector<Endpoint> fixed_endpoints(const TargetAddress& address);
/// The servers of a route with their fixed addresses; empty if its target is not a server.
[[nodiscard]] std::shared_ptr<const ServerSet> make_server_set(const RouteConfig& config);
/// The same set, but the server of that index has these addresses.
[[nodiscard]] std::shared_ptr<const ServerSet> with_endpoints(const ServerSet& set,
                                                              std::size_t index,
                                                              std::vector<Endpoint> endpoints);

}  // namespace sluice
