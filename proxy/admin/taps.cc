#include "proxy/admin/taps.h"

#include <array>
#include <cstddef>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "iolib/capture/format.h"
#include "proxy/admin/answer.h"

namespace sluice::admin {
namespace {

using capture::GapReason;
using mirror::Count;

// Why bytes are missing in a capture.
constexpr auto kGapReasons = std::to_array<std::pair<std::string_view, GapReason>>({
    {"full", GapReason::buffers_full},
    {"disk_full", GapReason::disk_full},
    {"disk_failed", GapReason::disk_failed},
    {"limit", GapReason::limit},
    {"not_duplicated", GapReason::not_duplicated},
});

// Why a mirror did not get all of a connection, or nothing.
constexpr auto kCutReasons = std::to_array<std::pair<std::string_view, Count>>({
    {"lagged", Count::lagged},
    {"shed", Count::shed},
    {"refused", Count::refused},
    {"crowded", Count::crowded},
    {"failed", Count::failed},
    {"ended", Count::ended},
    {"unfinished", Count::unfinished},
});

// The names of routes, by what they use. One pass over the routes, of which there can be thousands.
using Users = std::unordered_map<std::string_view, json::array>;

json::object capture_json(const CaptureFigures& capture, Users& users) {
  json::object object;
  object["directory"] = json_text(capture.directory);
  object["routes"] = std::move(users[capture.directory]);
  object["recorded_bytes"] = json_decimal(capture.recorded_bytes);
  object["lag_bytes"] = json_decimal(capture.lag_bytes);
  json::object dropped;
  for (const auto& [name, reason] : kGapReasons) {
    dropped[name] = json_decimal(capture.dropped(reason));
  }
  object["dropped_bytes"] = std::move(dropped);
  object["lost_connections"] = json_decimal(capture.lost_connections);
  object["disk_failures"] = json_decimal(capture.disk_failures);
  object["segments"] = json_decimal(capture.segments);
  return object;
}

json::object mirror_json(const MirrorFigures& mirror, Users& users) {
  json::object object;
  object["mirror"] = json_text(mirror.address);
  object["routes"] = std::move(users[mirror.address]);
  object["streams"] = mirror.count(Count::active);
  object["streams_total"] = json_decimal(mirror.count(Count::streams));
  object["bytes"] = json_decimal(mirror.count(Count::bytes));
  object["lag_bytes"] = json_decimal(mirror.count(Count::lag));
  object["breaker_open"] = mirror.breaker_open;
  json::object cut;
  for (const auto& [name, count] : kCutReasons) cut[name] = json_decimal(mirror.count(count));
  object["cut"] = std::move(cut);
  return object;
}

}  // namespace

json::array captures_json(const std::vector<CaptureFigures>& captures, const Routes& routes) {
  Users users;
  for (const auto& route : routes) {
    users[route->config.capture].emplace_back(json_text(route->config.name));
  }
  json::array items;
  for (const CaptureFigures& each : captures) items.push_back(capture_json(each, users));
  return items;
}

json::array mirrors_json(const std::vector<MirrorFigures>& mirrors, const Routes& routes) {
  Users users;
  for (const auto& route : routes) {
    for (const MirrorTarget& each : route->mirrors) {
      users[each.address].emplace_back(json_text(route->config.name));
    }
  }
  json::array items;
  for (const MirrorFigures& each : mirrors) items.push_back(mirror_json(each, users));
  return items;
}

void add_capture_metrics(MetricsWriter& metrics, const std::vector<CaptureFigures>& captures) {
  if (captures.empty()) return;
  metrics.begin("sluice_capture_recorded_bytes_total", MetricType::counter,
                "Bytes that were recorded.");
  for (const auto& each : captures) {
    metrics.add(each.recorded_bytes, {{"directory", each.directory}});
  }
  metrics.begin("sluice_capture_lag_bytes", MetricType::gauge,
                "Recorded bytes that are not yet as durable as --durability asks.");
  for (const auto& each : captures) metrics.add(each.lag_bytes, {{"directory", each.directory}});
  metrics.begin("sluice_capture_dropped_bytes_total", MetricType::counter,
                "Bytes that were forwarded, but are missing in the capture.");
  for (const auto& each : captures) {
    for (const auto& [name, reason] : kGapReasons) {
      metrics.add(each.dropped(reason), {{"directory", each.directory}, {"reason", name}});
    }
  }
}

void add_mirror_metrics(MetricsWriter& metrics, const std::vector<MirrorFigures>& mirrors) {
  if (mirrors.empty()) return;
  const auto add = [&](std::string_view name, MetricType type, std::string_view help, Count count) {
    metrics.begin(name, type, help);
    for (const auto& each : mirrors) metrics.add(each.count(count), {{"mirror", each.address}});
  };
  add("sluice_mirror_streams_total", MetricType::counter, "Streams to the mirror that began.",
      Count::streams);
  add("sluice_mirror_bytes_total", MetricType::counter, "Bytes that were sent to the mirror.",
      Count::bytes);
  add("sluice_mirror_lag_bytes", MetricType::gauge, "Bytes that wait for the mirror.", Count::lag);
  metrics.begin("sluice_mirror_cut_total", MetricType::counter,
                "Connections of which the mirror did not get everything, or nothing.");
  for (const auto& each : mirrors) {
    for (const auto& [name, count] : kCutReasons) {
      metrics.add(each.count(count), {{"mirror", each.address}, {"reason", name}});
    }
  }
  metrics.begin("sluice_mirror_breaker_open", MetricType::gauge,
                "1 if connections are kept away from the mirror because it is down.");
  for (const auto& each : mirrors) {
    metrics.add(std::uint64_t{each.breaker_open ? 1U : 0U}, {{"mirror", each.address}});
  }
}

}  // namespace sluice::admin
