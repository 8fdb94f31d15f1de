#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "iolib/balance/maglev.h"
#include "proxy/config/config.h"
#include "proxy/names/name_set.h"
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
  std::vector<ServerRef> servers;  ///< in the order of the configuration, those of a name together
  std::array<Tier, 2> tiers;       ///< all but the backups, then the backups
};

/// The addresses of a target that need no look-up: of a numeric host, loopback for an empty one,
/// and of unix sockets. Empty for names and for targets that are no servers.
[[nodiscard]] std::vector<Endpoint> fixed_endpoints(const TargetAddress& address);
/// The servers of a route with their fixed addresses, without those of names; empty if its target
/// is not a server.
[[nodiscard]] std::shared_ptr<const ServerSet> make_server_set(const RouteConfig& config);
/// The same set, but the server at that index of `to` has these addresses.
[[nodiscard]] std::shared_ptr<const ServerSet> with_endpoints(const ServerSet& set,
                                                              std::size_t index,
                                                              std::vector<Endpoint> endpoints);

/// The set of a route's new configuration, where its old one had `known`: servers at the same
/// address stay the same, with what is known of them. Those of names that stay are in it as they
/// were. Returns `known` itself if nothing has changed.
[[nodiscard]] std::shared_ptr<const ServerSet> with_known_servers(
    const RouteConfig& config, const std::shared_ptr<const ServerSet>& known,
    const RouteConfig& old_config);

/// A set, and how many servers it would have if the number of a route's servers had no bound.
struct BoundedSet {
  std::shared_ptr<const ServerSet> set;
  std::size_t unbounded = 0;
};
/// The same set, but these are the servers of the names, by index in `to`. A server that several
/// names have, or that is configured itself, is in the set once. Those that the set has already
/// stay the same servers.
[[nodiscard]] BoundedSet with_named_servers(const ServerSet& set, const RouteConfig& config,
                                            std::span<const std::span<const NamedServer>> found);

}  // namespace sluice
