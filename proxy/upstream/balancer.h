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

  /// A server to connect to.
  struct Pick {
    ServerRef server;       ///< null if there is none
    bool on_trial = false;  ///< see begin_trial()
  };
  /// Picks a usable server that is not in `tried`; if there is none, one that is down; if all are
  /// ejected, one of these. None if all usable ones are full. Never one that an operator has
  /// drained or taken down, or one that is full. Picks a backup only if no other server is left.
  /// `source` is a hash of the client's address, `trial` the longest time that a trial takes.
  [[nodiscard]] Pick pick(std::uint64_t source, std::span<const ServerRef> tried, TimePoint now,
                          Duration trial);
  /// The same for a hedge: only a usable server, and without taking a turn of round-robin.
  /// Otherwise, of two servers, the slow one would get the turn of every connection.
  [[nodiscard]] Pick pick_hedge(std::uint64_t source, std::span<const ServerRef> tried,
                                TimePoint now, Duration trial);
  /// Whether an operator lets any server have connections that has as many as it may. If pick() has
  /// found none, that is why.
  [[nodiscard]] bool is_full() const;
  [[nodiscard]] const ServerSet& set() const { return *set_; }
  [[nodiscard]] balance::Random& random() { return random_; }

 private:
  template <class Skip>
  [[nodiscard]] Pick pick_on_trial(Balance how, std::uint64_t source, const Skip& skip,
                                   TimePoint now, Duration trial);
  template <class Skip>
  [[nodiscard]] ServerRef pick_if_not(Balance how, std::uint64_t source, const Skip& skip);
  template <class Skip>
  [[nodiscard]] std::optional<std::size_t> pick_from(std::size_t tier, Balance how,
                                                     std::uint64_t source, const Skip& skip_server);

  std::shared_ptr<const ServerSet> set_;
  balance::Random random_;
  std::array<balance::Edf, 2> turns_;  ///< of each tier, for round-robin
};

}  // namespace sluice
