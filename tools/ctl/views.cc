#include "tools/ctl/views.h"

#include <optional>
#include <utility>
#include <vector>

#include "tools/common/figures.h"
#include "tools/ctl/fields.h"

namespace sluice::ctl {
namespace {

std::string sum_of(const json::object& object, std::string_view outer) {
  const std::optional<double> sum = sum_at(object, outer);
  return sum ? as_bytes(*sum) : "-";
}

// "refused: sluice.toml:2:1: …"; empty if there was no reload.
std::string last_reload_of(const json::object& status) {
  const json::object* const last = object_at(status, "last_reload");
  if (last == nullptr) return "";
  const std::string error = text_at(*last, "error");
  return text_at(*last, "result") + (error == "-" ? "" : ": " + error);
}

// "4242 (7 connections), 4711 (1 connections)"; empty if there is none.
std::string predecessors_of(const json::object& status) {
  const json::value* const all = status.if_contains("predecessors");
  std::string text;
  if (all == nullptr || !all->is_array()) return text;
  for (const json::value& each : all->get_array()) {
    const json::object& predecessor = object_of(each);
    text += (text.empty() ? "" : ", ") + text_at(predecessor, "pid") + " (" +
            text_at(predecessor, "connections") + " connections)";
  }
  return text;
}

// The sum of counts, without a unit.
std::string count_of(const json::object& object, std::string_view outer) {
  const std::optional<double> sum = sum_at(object, outer);
  constexpr double kMost = 1e15;
  return sum && *sum < kMost ? std::to_string(static_cast<std::uint64_t>(*sum)) : "-";
}

// How much of a limit is used; none if it is not set.
std::optional<std::string> used_of(const json::object& item, std::string_view key) {
  const json::object* const limits = object_at(item, "limits");
  const json::object* const limit = limits == nullptr ? nullptr : object_at(*limits, key);
  if (limit == nullptr) return std::nullopt;
  return text_at(*limit, "used") + "/" + text_at(*limit, "limit");
}

}  // namespace

const json::object& object_of(const json::value& item) {
  static const json::object kEmpty;
  return item.is_object() ? item.get_object() : kEmpty;
}

std::string capture_of(const json::object& route) {
  const json::value* const directory = route.if_contains("capture");
  if (directory == nullptr || directory->is_null()) return "-";
  const json::value* const enabled = route.if_contains("capture_enabled");
  return enabled != nullptr && enabled->is_bool() && !enabled->get_bool() ? "off" : "on";
}

std::string servers_of(const json::object& route) {
  const std::string all = text_at(route, "servers");
  return all == "-" || all == "0" ? "-" : text_at(route, "servers_usable") + "/" + all;
}

std::string connections_of(const json::object& item, std::string_view key) {
  return used_of(item, key).value_or(text_at(item, "connections"));
}

std::string queued_of(const json::object& route) { return used_of(route, "queue").value_or("-"); }

std::string rejected_of(const json::object& route) { return count_of(route, "rejected"); }

Table routes_table(const json::array& items) {
  Table table({{"ROUTE"},
               {"LISTEN"},
               {"TO"},
               {"CONNECTIONS", kRight},
               {"QUEUED", kRight},
               {"ACCEPTED", kRight},
               {"REJECTED", kRight},
               {"RETRIES", kRight},
               {"TO UPSTREAM", kRight},
               {"TO CLIENT", kRight},
               {"SERVERS", kRight},
               {"CAPTURE"},
               {"MIRRORS"}});
  for (const json::value& item : items) {
    const json::object& route = object_of(item);
    table.add({text_at(route, "name"), text_at(route, "listen"), text_at(route, "to"),
               connections_of(route, "route-connections"), queued_of(route),
               text_at(route, "accepted"), rejected_of(route), text_at(route, "retries"),
               size_at(route, "bytes", "to_upstream"), size_at(route, "bytes", "to_client"),
               servers_of(route), capture_of(route), text_at(route, "mirrors")});
  }
  return table;
}

Table servers_table(const json::array& items) {
  Table table({{"ROUTE"},
               {"SERVER"},
               {"STATE"},
               {"ORDERED"},
               {"BACKUP"},
               {"WEIGHT", kRight},
               {"CONNECTIONS", kRight},
               {"FAILED CONNECTS", kRight},
               {"CHECK"},
               {"CHECKED", kRight}});
  for (const json::value& item : items) {
    const json::object& server = object_of(item);
    const std::string age = seconds_at(server, "check_age_seconds");
    table.add({text_at(server, "route"), text_at(server, "server"), text_at(server, "state"),
               text_at(server, "ordered"), flag_at(server, "backup"), text_at(server, "weight"),
               connections_of(server, "server-connections"), text_at(server, "connect_failures"),
               text_at(server, "check"), age == "-" ? age : age + " ago"});
  }
  return table;
}

Table connections_table(const json::array& items) {
  Table table({{"ID"},
               {"CLIENT"},
               {"ROUTE"},
               {"SERVER"},
               {"TO UPSTREAM", kRight},
               {"TO CLIENT", kRight},
               {"AGE", kRight},
               {"IDLE", kRight},
               {"RECORDED"},
               {"MIRRORS", kRight}});
  for (const json::value& item : items) {
    const json::object& connection = object_of(item);
    table.add({text_at(connection, "id"), text_at(connection, "client"),
               text_at(connection, "route"), text_at(connection, "server"),
               size_at(connection, "bytes_to_upstream"), size_at(connection, "bytes_to_client"),
               seconds_at(connection, "age_seconds"), seconds_at(connection, "idle_seconds"),
               flag_at(connection, "recorded"), text_at(connection, "mirrors")});
  }
  return table;
}

Table captures_table(const json::array& items) {
  Table table({{"DIRECTORY"},
               {"ROUTES"},
               {"RECORDED", kRight},
               {"LAG", kRight},
               {"DROPPED", kRight},
               {"LOST CONNECTIONS", kRight},
               {"DISK FAILURES", kRight},
               {"SEGMENTS", kRight}});
  for (const json::value& item : items) {
    const json::object& capture = object_of(item);
    table.add({text_at(capture, "directory"), all_at(capture, "routes"),
               size_at(capture, "recorded_bytes"), size_at(capture, "lag_bytes"),
               sum_of(capture, "dropped_bytes"), text_at(capture, "lost_connections"),
               text_at(capture, "disk_failures"), text_at(capture, "segments")});
  }
  return table;
}

Table mirrors_table(const json::array& items) {
  Table table({{"MIRROR"},
               {"ROUTES"},
               {"STREAMS", kRight},
               {"TOTAL", kRight},
               {"SENT", kRight},
               {"LAG", kRight},
               {"CUT", kRight},
               {"BREAKER"}});
  for (const json::value& item : items) {
    const json::object& mirror = object_of(item);
    const std::string open = flag_at(mirror, "breaker_open");
    table.add({text_at(mirror, "mirror"), all_at(mirror, "routes"), text_at(mirror, "streams"),
               text_at(mirror, "streams_total"), size_at(mirror, "bytes"),
               size_at(mirror, "lag_bytes"), count_of(mirror, "cut"),
               open == "-"     ? open
               : open == "yes" ? "open"
                               : "closed"});
  }
  return table;
}

Table changes_table(const json::array& changes) {
  Table table({{"CHANGE"}, {"ROUTE"}, {"KEY"}, {"OLD"}, {"NEW"}});
  for (const json::value& item : changes) {
    const json::object& change = object_of(item);
    table.add({text_at(change, "op"), text_at(change, "route"), text_at(change, "key"),
               text_at(change, "old"), text_at(change, "new")});
  }
  return table;
}

std::string status_text(const json::object& status) {
  const std::string limit = text_at(status, "connections_limit");
  const std::string connections = text_at(status, "connections");
  const std::pair<const char*, std::string> lines[] = {
      {"version", text_at(status, "version")},
      {"pid", text_at(status, "pid")},
      {"uptime", seconds_at(status, "uptime_seconds")},
      {"state", text_at(status, "state")},
      {"engine", text_at(status, "engine")},
      {"workers", text_at(status, "workers")},
      {"connections", limit == "-" ? connections : connections + " of at most " + limit},
      {"log level", text_at(status, "log_level")},
      {"last reload", last_reload_of(status)},
      {"predecessors", predecessors_of(status)}};
  std::string text;
  for (const auto& [name, value] : lines) {
    if (value.empty()) continue;
    std::string line(name);
    line.resize(13, ' ');
    text += line + value + '\n';
  }
  return text;
}

}  // namespace sluice::ctl
