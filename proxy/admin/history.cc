#include "proxy/admin/history.h"

#include <utility>

#include "proxy/admin/answer.h"
#include "proxy/upstream/route_totals.h"

namespace sluice::admin {
namespace {

// A route that is removed takes its counts away.
std::uint64_t risen(std::uint64_t now, std::uint64_t before) {
  return now > before ? now - before : 0;
}

}  // namespace

void History::add(double time, const Totals& totals) {
  if (points_.size() == kMostPoints) points_.pop_front();
  points_.push_back({time,
                     {risen(totals.bytes_to_upstream, last_.bytes_to_upstream),
                      risen(totals.bytes_to_client, last_.bytes_to_client),
                      risen(totals.accepted, last_.accepted), totals.connections}});
  last_ = totals;
}

json::object History::to_json(double now) const {
  json::object object;
  object["interval_seconds"] = 1;
  object["now"] = now;
  json::array points;
  for (const Point& each : points_) {
    json::object point;
    point["time"] = each.time;
    point["bytes_to_upstream"] = json_decimal(each.happened.bytes_to_upstream);
    point["bytes_to_client"] = json_decimal(each.happened.bytes_to_client);
    point["accepted"] = each.happened.accepted;
    point["connections"] = each.happened.connections;
    points.push_back(std::move(point));
  }
  object["points"] = std::move(points);
  return object;
}

History::Totals history_totals(const Routes& routes) {
  History::Totals sums;
  for (const auto& route : routes) {
    const RouteTotals totals = totals_of(*route);
    sums.bytes_to_upstream += totals.to_upstream.forwarded;
    sums.bytes_to_client += totals.to_client.forwarded;
    sums.accepted += totals.accepted;
    sums.connections += totals.active;
  }
  return sums;
}

}  // namespace sluice::admin
