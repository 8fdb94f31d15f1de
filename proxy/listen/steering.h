#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/error.h"

namespace sluice {

/// Notices that steering does not spread the connections of one listening address: on a machine
/// with one receive queue all arrive on one CPU. Those of a client that has one at a time do so as
/// well, and are best served where they are: what counts is a crowd in one place.
///
/// Each worker counts what it accepts; all see the counts of the others.
class Steering {
 public:
  /// Each so many connections a worker looks at what the others had meanwhile.
  static constexpr std::uint64_t kWindow = 16;
  /// So many such looks in a row have to find too many: one may be a burst.
  static constexpr std::uint64_t kWindows = 3;
  /// A worker that serves fewer at once has time to spare.
  static constexpr std::uint64_t kCrowd = kWindow * 3 / 4;

  Steering(std::string address, std::size_t workers)
      : address_(std::move(address)), places_(workers) {}

  /// Called by `worker`'s thread for each connection that it accepts, while it serves `live`
  /// others. True once, for one of them: steering is to stop.
  [[nodiscard]] bool accepted(std::size_t worker, std::uint64_t live) {
    Place& own = places_[worker];
    const std::uint64_t count = own.count.load(std::memory_order_relaxed) + 1;
    own.count.store(count, std::memory_order_relaxed);  // the only writer
    return count % kWindow == 0 && has_too_many(own, live) && !stopped_.exchange(true);
  }
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  struct alignas(64) Place {
    std::atomic<std::uint64_t> count{0};
    std::uint64_t all_before = 0;  ///< of all workers, at this one's last look
    std::uint64_t lopsided = 0;    ///< windows, without a break
  };
  [[nodiscard]] bool has_too_many(Place& own, std::uint64_t live) const;

  std::string address_;
  std::vector<Place> places_;
  std::atomic<bool> stopped_{false};
};

/// Has connections to the group of `fd` (SO_REUSEPORT) go to the socket, by the order in which they
/// were bound, whose CPU in `cpus` they arrive on.
[[nodiscard]] Result<> steer_by_cpu(int fd, const std::vector<int>& cpus);
/// Has them spread by the kernel's hash, as without steering.
[[nodiscard]] Result<> stop_steering(int fd);

}  // namespace sluice
