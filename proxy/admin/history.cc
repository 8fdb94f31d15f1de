#include "proxy/admin/history.h"

#include <utility>

#include "proxy/admin/answer.h"
#include "proxy/upstream/route_totals.h"

namespace sluice::admin {
namespace {

History::Totals history_totals(const RouteTotals& totals) {
  return {totals.to_upstream.forwarded, totals.to_client.forwarded, totals.accepted, totals.active};
}

std::uint64_t risen(std::uint64_t now, std::uint64_t before) {
  return now > before ? now - before : 0;
}

}  // namespace

void History::add(double time, Counts counts) {
  Totals happened;
  for (const auto& [route, counted] : counts) {
    const auto found = last_.find(route);
    const Totals before = found == last_.end() ? counted.inherited : found->second.totals;
    const Totals& now = counted.totals;
    happened.bytes_to_upstream += risen(now.bytes_to_upstream, before.bytes_to_upstream);
    happened.bytes_to_client += risen(now.bytes_to_client, before.bytes_to_client);
    happened.accepted += risen(now.accepted, before.accepted);
    happened.connections += now.connections;
  }
  if (points_.size() == kMostPoints) points_.pop_front();
  points_.push_back({time, happened});
  last_ = std::move(counts);
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

History::Counts history_counts(const Routes& routes) {
  History::Counts counts;
  for (const auto& route : routes) {
    counts[route->stats] = {history_totals(totals_of(*route)),
                            history_totals(inherited_totals_of(*route))};
  }
  return counts;
}

}  // namespace sluice::admin
