#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/tally.h"
#include "iolib/relay/traffic.h"
#include "proxy/log/ending.h"
#include "proxy/log/repeated.h"

namespace sluice {

/// How many of some durations were at most as long as each bound. One thread adds; any may read.
class DurationCounts {
 public:
  /// In seconds.
  static constexpr auto kBounds =
      std::to_array({0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,   0.1,
                     0.25,   0.5,     1.0,    2.5,   5.0,    10.0,  60.0, 600.0, 3600.0, 36000.0});

  void add(Duration duration) {
    const double seconds = std::chrono::duration<double>(duration).count();
    const auto bound = std::ranges::lower_bound(kBounds, seconds);
    counts_[static_cast<std::size_t>(bound - kBounds.begin())].add();
    total_ns_.add(static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count()));
  }
  /// Of those that are longer than the bound before, and at most as long as this one; the last: of
  /// those that are longer than all bounds.
  [[nodiscard]] std::uint64_t count(std::size_t bound) const { return counts_[bound]; }
  [[nodiscard]] std::uint64_t total_ns() const { return total_ns_; }
  /// Calls `visit` with each number: the total, then the counts.
  template <class Visit>
  void for_each(const Visit& visit) {
    visit(total_ns_);
    for (Tally& each : counts_) visit(each);
  }

 private:
  std::array<Tally, kBounds.size() + 1> counts_;
  Tally total_ns_;
};

/// What one worker counts, apart from what it counts for each route. It has a cache line of its
/// own.
struct alignas(64) WorkerStats {
  Tally active;  ///< connections that it serves now
  Tally pipe_shortages;
  Tally accept_pauses;
};

/// What one worker counts for one route, besides Traffic.
struct alignas(64) RouteCounts {
  Tally accepted;  ///< by the route's listeners
  Tally active;   ///< current connections; a connection that moved to another worker ends there, so
                  ///< only the sum of all workers counts
  Tally retries;  ///< connects to another server, or to the same once more
  std::array<Tally, kEndings.size()> ended;  ///< by ending_index()
  DurationCounts connects;                   ///< times until a server was connected
  DurationCounts connections;                ///< times from accept to end
};

/// What all workers count for one route, each in its own element, and what can be switched while
/// they run. Any thread may read all. The last elements are what processes have counted from which
/// this one has taken over; Takeovers sets them.
struct RouteStats {
  explicit RouteStats(std::size_t workers) : traffic(workers + 1), counts(workers + 1) {}

  std::vector<Traffic> traffic;
  std::vector<RouteCounts> counts;
  /// Whether connections that begin are recorded, if the route has a capture. The control thread
  /// sets it.
  std::atomic<bool> capture_enabled{true};
  Repeated upstream_failures;
  /// Of clients that were turned away, by ending_index(): which get a line in the log.
  std::array<EverySecond, kEndings.size()> rejected = {};
};

/// The sum over workers of what `get` finds in each element.
template <class Elements, class Get>
[[nodiscard]] std::uint64_t sum_over(const Elements& elements, const Get& get) {
  std::uint64_t total = 0;
  for (const auto& element : elements) total += get(element);
  return total;
}

}  // namespace sluice
