#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "iolib/relay/relay.h"

namespace sluice {

/// Decides which worker serves a connection. Shared by all workers; any thread.
class Placement {
 public:
  /// Adds the next worker, in the order of their numbers. Call it before all other functions.
  void add(const RelayContext& worker) { loads_.emplace_back(worker); }

  /// For a connection with taps, which stays with the worker where it begins: returns the worker
  /// with the fewest such connections, or `own` if none has fewer than it. Counts the connection
  /// there until left().
  [[nodiscard]] std::size_t place(std::size_t own);
  /// The connection has moved, and counts with this worker now.
  void arrived(std::size_t worker) { ++loads_[worker].staying; }
  void left(std::size_t worker) { --loads_[worker].staying; }

  /// For a relay that streams heavily on `own`: returns a worker that even with one more such
  /// stream would have fewer than `own`; negative if there is none.
  [[nodiscard]] int with_fewer_streams(std::size_t own) const;

 private:
  struct Load {
    explicit Load(const RelayContext& its_relays) : relays(its_relays) {}
    const RelayContext& relays;
    std::atomic<std::uint32_t> staying{0};  ///< connections with taps, here or on their way here
  };
  std::deque<Load> loads_;
};

}  // namespace sluice
