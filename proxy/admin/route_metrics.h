#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "iolib/base/clock.h"
#include "proxy/admin/metrics.h"
#include "proxy/upstream/route.h"

namespace sluice::admin {

/// The metrics of routes and their servers. Routes are added one by one, so that thousands of them
/// can be added in several turns.
class RouteMetrics {
 public:
  /// The most servers of a route that have metrics: the first ones of its set.
  static constexpr std::size_t kMostServers = 256;

  RouteMetrics();
  void add(const Route& route, TimePoint now);
  /// Appends all families. Call it once, last.
  void append_to(std::string& text);

 private:
  void add_counts(const Route& route);
  void add_durations(const Route& route);
  void add_servers(const Route& route, TimePoint now);

  std::vector<MetricsWriter> families_;  ///< by Family
};

}  // namespace sluice::admin
