#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "iolib/relay/relay.h"

namespace sluice {

/// Which worker a connection goes to. All workers share it; any thread.
class Placement {
 public:
  /// The next worker, by number. Before anybody asks.
  void add(const RelayContext& worker) { loads_.emplace_back(worker); }

  /// For a connection that stays where it begins as long as it has taps: the worker with the fewest
  /// of them, `own` where no other has fewer. Counts it there, until left().
  [[nodiscard]] std::size_t place(std::size_t own);
  /// It has moved after all, and counts here now.
  void arrived(std::size_t worker) { ++loads_[worker].staying; }
  void left(std::size_t worker) { --loads_[worker].staying; }

  /// For a relay that streams heavily on `own`: another worker which would have fewer such streams,
  /// with one more, than `own` has; negative where there is none.
  [[nodiscard]] int with_fewer_streams(std::size_t own) const;

 private:
  struct Load {
    explicit Load(const RelayContext& its_relays) : relays(its_relays) {}
    const RelayContext& relays;
    std::atomic<std::uint32_t> staying{0};  ///< connections that do, here or on their way
  };
  std::deque<Load> loads_;
};

}  // namespace sluice
