#include "tools/ctl/top_model.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "tools/ctl/fields.h"
#include "tools/ctl/table.h"
#include "tools/ctl/views.h"

namespace sluice::ctl {
namespace {

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

std::string key_of(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : "";
}

std::string shown(std::optional<double> rate) { return rate ? as_rate(*rate) : "-"; }

}  // namespace

void TopModel::take(Sample sample) {
  seconds_ = sample_ ? std::chrono::duration<double>(sample.at - sample_->at).count() : 0;
  routes_before_ = std::exchange(routes_, {});
  connections_before_ = std::exchange(connections_, {});
  for (const json::value& item : sample.routes) {
    const json::object& route = object_of(item);
    const json::object* const bytes = object_at(route, "bytes");
    if (bytes == nullptr) continue;
    routes_[key_of(route, "name")] = {number_at(*bytes, "to_upstream"),
                                      number_at(*bytes, "to_client")};
  }
  for (const json::value& item : sample.connections) {
    const json::object& connection = object_of(item);
    connections_[key_of(connection, "id")] = {number_at(connection, "bytes_to_upstream"),
                                              number_at(connection, "bytes_to_client")};
  }
  sample_ = std::move(sample);
}

// Bytes per second; nothing for what was not there before, and where a counter went back.
TopModel::Bytes TopModel::rate_of(const Counts& before, const Counts& now,
                                  const std::string& key) const {
  const auto old = before.find(key);
  const auto current = now.find(key);
  if (seconds_ <= 0 || old == before.end() || current == now.end()) return {};
  const auto rate = [&](std::optional<double> from, std::optional<double> to) {
    if (!from || !to || *to < *from) return std::optional<double>();
    return std::optional((*to - *from) / seconds_);
  };
  return {rate(old->second.to_upstream, current->second.to_upstream),
          rate(old->second.to_client, current->second.to_client)};
}

std::string TopModel::summary() const {
  const json::object& status = sample_->status;
  Bytes all;
  for (const auto& [key, bytes] : routes_) {
    const Bytes rate = rate_of(routes_before_, routes_, key);
    if (rate.to_upstream) all.to_upstream = all.to_upstream.value_or(0) + *rate.to_upstream;
    if (rate.to_client) all.to_client = all.to_client.value_or(0) + *rate.to_client;
  }
  return "sluice " + text_at(status, "version") + "  " + text_at(status, "state") + "  up " +
         seconds_at(status, "uptime_seconds") + "  connections " + text_at(status, "connections") +
         "  to upstream " + shown(all.to_upstream) + "  to client " + shown(all.to_client);
}

// In the daemon's order if all have room, otherwise the busiest.
std::vector<std::string> TopModel::route_lines(std::size_t rows, std::size_t width) const {
  struct Entry {
    const json::object* route;
    Bytes rate;
    [[nodiscard]] double total() const {
      return rate.to_upstream.value_or(0) + rate.to_client.value_or(0);
    }
  };
  std::vector<Entry> entries;
  for (const json::value& item : sample_->routes) {
    const json::object& route = object_of(item);
    entries.push_back({&route, rate_of(routes_before_, routes_, key_of(route, "name"))});
  }
  if (entries.size() > rows) std::ranges::stable_sort(entries, std::greater(), &Entry::total);
  Table table({{"ROUTE"},
               {"CONNECTIONS", kRight},
               {"QUEUED", kRight},
               {"ACCEPTED", kRight},
               {"REJECTED", kRight},
               {"TO UPSTREAM", kRight},
               {"TO CLIENT", kRight},
               {"SERVERS", kRight},
               {"CAPTURE"}});
  for (const Entry& entry : entries) {
    if (table.rows() == rows) break;
    const json::object& route = *entry.route;
    table.add({text_at(route, "name"), connections_of(route, "route-connections"), queued_of(route),
               text_at(route, "accepted"), rejected_of(route), shown(entry.rate.to_upstream),
               shown(entry.rate.to_client), servers_of(route), capture_of(route)});
  }
  return table.lines(rows, width);
}

std::vector<std::string> TopModel::connection_lines(std::size_t rows, std::size_t width) const {
  Table table({{"CONNECTION"},
               {"CLIENT"},
               {"ROUTE"},
               {"SERVER"},
               {"BYTES", kRight},
               {"TO UPSTREAM", kRight},
               {"TO CLIENT", kRight},
               {"AGE", kRight},
               {"IDLE", kRight}});
  for (const json::value& item : sample_->connections) {
    if (table.rows() == rows) break;
    const json::object& connection = object_of(item);
    const Bytes rate = rate_of(connections_before_, connections_, key_of(connection, "id"));
    table.add({text_at(connection, "id"), text_at(connection, "client"),
               text_at(connection, "route"), text_at(connection, "server"),
               size_at(connection, "bytes"), shown(rate.to_upstream), shown(rate.to_client),
               seconds_at(connection, "age_seconds"), seconds_at(connection, "idle_seconds")});
  }
  return table.lines(rows, width);
}

std::vector<Line> TopModel::screen(ScreenSize size, Line second) const {
  using Style = Line::Style;
  std::vector<Line> lines{{summary(), Style::plain}, std::move(second), {"", Style::plain}};
  const auto append = [&](const std::vector<std::string>& table) {
    for (std::size_t i = 0; i < table.size(); ++i) {
      lines.push_back({table[i], i == 0 ? Style::head : Style::plain});
    }
  };
  // The two tables' heads and the empty line between them. Connections get the room that routes
  // leave, and half of it at least.
  const std::size_t used = lines.size() + 3;
  const std::size_t room = size.rows > used ? size.rows - used : 0;
  const std::size_t routes = std::min(sample_->routes.size(), (room + 1) / 2);
  append(route_lines(routes, size.columns));
  lines.push_back({"", Style::plain});
  append(connection_lines(room - routes, size.columns));
  return lines;
}

std::string TopModel::text() const {
  std::string text = summary() + "\n\n";
  for (const std::string& line : route_lines(kUnlimited, kUnlimited)) text += line + '\n';
  text += '\n';
  for (const std::string& line : connection_lines(kUnlimited, kUnlimited)) text += line + '\n';
  return text;
}

}  // namespace sluice::ctl
