#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "iolib/json/json.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// What the daemon did in each of the last seconds: one point a second, kMostPoints at most.
class History {
 public:
  static constexpr std::size_t kMostPoints = 600;

  /// What has been counted so far.
  struct Totals {
    std::uint64_t bytes_to_upstream = 0;
    std::uint64_t bytes_to_client = 0;
    std::uint64_t accepted = 0;
    std::uint64_t connections = 0;  ///< now
  };
  /// Adds what happened since the last call; the first time, since the start. `time`: of now, in
  /// seconds since the epoch.
  void add(double time, const Totals& totals);
  /// The body of /v1/history, from the oldest point on.
  [[nodiscard]] json::object to_json(double now) const;

 private:
  struct Point {
    double time = 0;
    Totals happened;
  };
  Totals last_;
  std::deque<Point> points_;
};

/// Of all routes.
[[nodiscard]] History::Totals history_totals(const Routes& routes);

}  // namespace sluice::admin
