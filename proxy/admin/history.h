#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>

#include "iolib/json/json.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// What the daemon did in each of the last seconds: one point a second, kMostPoints at most.
class History {
 public:
  static constexpr std::size_t kMostPoints = 600;

  /// What has been counted so far, of one route or of several.
  struct Totals {
    std::uint64_t bytes_to_upstream = 0;
    std::uint64_t bytes_to_client = 0;
    std::uint64_t accepted = 0;
    std::uint64_t connections = 0;  ///< now
  };
  /// `inherited`: the part that processes before this one have counted, which is no traffic now.
  struct Counted {
    Totals totals;
    Totals inherited;
  };
  /// Routes come and go, so each is known by its counters.
  using Counts = std::unordered_map<std::shared_ptr<const RouteStats>, Counted>;
  /// Adds what happened since the last call; for a route that was not there, since its start.
  /// `time`: of now, in seconds since the epoch.
  void add(double time, Counts counts);
  /// The body of /v1/history, from the oldest point on.
  [[nodiscard]] json::object to_json(double now) const;

 private:
  struct Point {
    double time = 0;
    Totals happened;
  };
  Counts last_;
  std::deque<Point> points_;
};

[[nodiscard]] History::Counts history_counts(const Routes& routes);

}  // namespace sluice::admin
