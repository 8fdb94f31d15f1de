#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "iolib/balance/edf.h"
#include "iolib/balance/random.h"
#include "iolib/base/clock.h"
#include "proxy/upstream/server_set.h"

namespace sluice {

/// Picks servers of a route for the connections of one worker. Belongs to that worker's thread.
class Balancer {
 public:
  Balancer(std::shared_ptr<const ServerSet> set, balance::Random random);

  /// Picks from this set from now on.
  void use(std::shared_ptr<const ServerSet> set);

  /// Picks a server that is not in `tried`; a backup only if no other server is left. Null if all
  /// are in it. `source` is a hash of the client's address.
  [[nodiscard]] ServerRef pick(std::uint64_t source, std::span<const ServerRef> tried);
  /// A random time for a pause of at most `longest`.
  [[nodiscard]] Duration jitter(Duration longest);

  [[nodiscard]] const ServerSet& set() const { return *set_; }

 private:
  [[nodiscard]] std::optional<std::size_t> pick_from(std::size_t tier, std::uint64_t source,
                                                     std::span<const ServerRef> tried);

  std::shared_ptr<const ServerSet> set_;
  balance::Random random_;
  std::array<balance::Edf, 2> turns_;  ///< of each tier, for round-robin
};

}  // namespace sluice
