#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/error.h"

namespace sluice {

/// Detects that steering does not spread the connections of one listening address. On a machine
/// with one receive queue, all connections arrive on one CPU. So do those of a client that has one
/// connection at a time, but they are best served there; only a crowd on one worker counts.
///
/// Each worker counts the connections that it accepts and reads the counts of the others.
class Steering {
 public:
  /// After this many accepted connections a worker compares its count with those of the others.
  static constexpr std::uint64_t kWindow = 16;
  /// This many comparisons in a row must find too many; a single one can be a burst.
  static constexpr std::uint64_t kWindows = 3;
  /// A worker that serves fewer connections at once is not crowded.
  static constexpr std::uint64_t kCrowd = kWindow * 3 / 4;

  /// `cpus`: as they were given to steer_by_cpu().
  Steering(std::string address, std::size_t workers, std::vector<int> cpus = {})
      : address_(std::move(address)), places_(workers), cpus_(std::move(cpus)) {}

  /// Counts one connection that `worker` accepts while it serves `live` others. Called on that
  /// worker's thread. True once, for one connection: the caller must then stop steering.
  [[nodiscard]] bool accepted(std::size_t worker, std::uint64_t live) {
    Place& own = places_[worker];
    const std::uint64_t count = own.count.load(std::memory_order_relaxed) + 1;
    own.count.store(count, std::memory_order_relaxed);  // the only writer
    return count % kWindow == 0 && has_too_many(own, live) && !stopped_.exchange(true);
  }
  [[nodiscard]] const std::string& address() const { return address_; }
  /// The CPUs to steer by; empty once steering has stopped.
  [[nodiscard]] std::vector<int> cpus() const { return stopped_ ? std::vector<int>() : cpus_; }

 private:
  struct alignas(64) Place {
    std::atomic<std::uint64_t> count{0};
    std::uint64_t all_before = 0;  ///< sum over all workers at the last comparison
    std::uint64_t lopsided = 0;    ///< how many windows in a row had too many
  };
  [[nodiscard]] bool has_too_many(Place& own, std::uint64_t live) const;

  std::string address_;
  std::vector<Place> places_;
  const std::vector<int> cpus_;
  std::atomic<bool> stopped_{false};
};

/// Steers each connection of the SO_REUSEPORT group of `fd` by the CPU on which it arrives: CPU
/// cpus[i] selects the socket that was bound as number i.
[[nodiscard]] Result<> steer_by_cpu(int fd, const std::vector<int>& cpus);
/// Lets the kernel's hash spread the connections again, as without steering.
[[nodiscard]] Result<> stop_steering(int fd);

}  // namespace sluice
