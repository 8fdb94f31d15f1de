#include "proxy/admin/connections.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <utility>

#include "proxy/admin/answer.h"

namespace sluice::admin {
namespace {

constexpr std::size_t kUsualLimit = 200;
constexpr std::size_t kMostListed = 1'000;
constexpr auto kOrders =
    std::to_array<std::pair<std::string_view, SessionOrder>>({{"id", SessionOrder::id},
                                                              {"bytes", SessionOrder::bytes},
                                                              {"age", SessionOrder::age},
                                                              {"idle", SessionOrder::idle}});

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<SessionPlace> place_of(std::string_view cursor) {
  const std::size_t dash = cursor.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto rank = number_of(cursor.substr(0, dash));
  const auto number = number_of(cursor.substr(dash + 1));
  if (!rank || !number) return std::nullopt;
  return SessionPlace{*rank, *number};
}

// Takes one `key=value` of the query. Returns what is wrong with it; empty if nothing is.
std::string_view take(SessionQuery& query, std::string_view key, std::string value) {
  if (key == "route") {
    query.route = std::move(value);
    return {};
  }
  if (key == "sort") {
    const auto* found = std::ranges::find(kOrders, std::string_view(value),
                                          &std::pair<std::string_view, SessionOrder>::first);
    if (found == kOrders.end()) return "sort is id, bytes, age or idle.";
    query.order = found->second;
    return {};
  }
  if (key == "limit") {
    const auto limit = number_of(value);
    if (!limit || *limit == 0 || *limit > kMostListed) return "limit is 1 to 1000.";
    query.limit = static_cast<std::size_t>(*limit);
    return {};
  }
  if (key == "after") {
    query.after = place_of(value);
    return query.after ? "" : "after is the next of the page before.";
  }
  return "The query takes route, sort, limit and after.";
}

json::object connection_json(const SessionInfo& info) {
  const auto seconds = [](Duration time) { return std::chrono::duration<double>(time).count(); };
  json::object object;
  object["id"] = json_text(info.id);
  object["client"] = json_text(info.client);
  object["route"] = json_text(info.route);
  object["server"] = json_text(info.server);
  object["bytes"] = json_decimal(info.to_upstream_bytes + info.to_client_bytes);
  object["bytes_to_upstream"] = json_decimal(info.to_upstream_bytes);
  object["bytes_to_client"] = json_decimal(info.to_client_bytes);
  object["age_seconds"] = seconds(info.age);
  object["idle_seconds"] = seconds(info.idle);
  object["recorded"] = info.recorded;
  object["mirrors"] = info.mirrors;
  return object;
}

HttpResponse page_response(const SessionPage& page) {
  json::array items;
  for (const SessionPage::Item& item : page.items) items.push_back(connection_json(item.info));
  std::optional<std::string> next;
  if (page.more && !page.items.empty()) next = cursor_of(page.items.back().place);
  return make_list(std::move(items), std::move(next));
}

}  // namespace

std::string cursor_of(const SessionPlace& place) {
  return std::to_string(place.rank) + "-" + std::to_string(place.number);
}

Result<SessionQuery> session_query(std::string_view query) {
  SessionQuery result{.limit = kUsualLimit};
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    const std::size_t equals = std::min(part.find('='), part.size());
    std::optional<std::string> value =
        percent_decoded(part.substr(std::min(equals + 1, part.size())));
    if (!value) return Error{0, "The query has a % that no two hexadecimal digits follow."};
    const std::string_view wrong = take(result, part.substr(0, equals), *std::move(value));
    if (!wrong.empty()) return Error{0, std::string(wrong)};
  }
  return result;
}

void add_connection_paths(Paths& paths, const AdminSource& source) {
  paths.add("GET", "/v1/connections", [&source](Paths::Call call) {
    const std::string_view target = call.request.target;
    const std::size_t path = call.request.path().size();
    Result<SessionQuery> query = session_query(target.substr(std::min(path + 1, target.size())));
    if (query.has_error()) return call.reply(make_problem(400, query.error().to_string()));
    source.list_connections(
        *std::move(query),
        [reply = std::move(call.reply)](const SessionPage& page) { reply(page_response(page)); });
  });
  paths.add("POST", "/v1/connections/{id}/kill", [&source](Paths::Call call) {
    source.kill_connection(call.parameters.front(), [reply = std::move(call.reply)](bool found) {
      reply(found ? make_no_content() : make_problem(404, "There is no connection with this id."));
    });
  });
}

}  // namespace sluice::admin
