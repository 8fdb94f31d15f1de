// All commands but top.
#include "tools/ctl/commands.h"

#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <utility>
#include <vector>

#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "tools/ctl/api.h"
#include "tools/ctl/fields.h"
#include "tools/ctl/views.h"

namespace sluice::ctl {
namespace {

// How often a drain that waits looks.
constexpr Duration kLookInterval = std::chrono::milliseconds(500);

void print(const std::string& text) { std::fputs(text.c_str(), stdout); }

void print_json(const json::object& object) {
  // 204 has none.
  if (!object.empty()) std::puts(json::serialize(object).c_str());
}

// Prints what was done, or with --json the answer.
int done(const Invocation& invocation, const json::object& answer, const std::string& text) {
  if (invocation.json) {
    print_json(answer);
  } else {
    print(text + '\n');
  }
  return 0;
}

int list(const Invocation& invocation, const json::object& found,
         Table (*table_of)(const json::array& items)) {
  if (invocation.json) {
    print_json(found);
  } else {
    print(table_of(found.at("items").as_array()).text());
  }
  return 0;
}

bool is_one_page(std::uint64_t limit) { return limit > 0 && limit <= kMostPageItems; }

// Sorts all connections, and keeps those within the limit. Bytes and idle times change from one
// page to the next, so pages in their order would have some connections twice and lack others.
void sort(json::array& items, const Invocation& invocation) {
  const std::string key = invocation.sort == "bytes" ? "bytes" : invocation.sort + "_seconds";
  std::vector<std::pair<double, json::value>> keyed;
  for (json::value& each : items) {
    const double value = each.is_object() ? number_at(each.as_object(), key).value_or(0) : 0;
    keyed.emplace_back(value, std::move(each));
  }
  std::ranges::stable_sort(keyed, std::greater<>(), [](const auto& each) { return each.first; });
  if (invocation.limit > 0 && keyed.size() > invocation.limit) keyed.resize(invocation.limit);
  items.clear();
  for (auto& [value, item] : keyed) items.push_back(std::move(item));
}

// Waits until there is no connection. Returns the exit status.
int wait_for_drain(const Invocation& invocation, const Api& api) {
  const TimePoint end =
      invocation.wait_at_most ? Clock::now() + *invocation.wait_at_most : TimePoint::max();
  for (;;) {
    const json::object status = api.get("/v1/status");
    if (number_at(status, "connections") == 0) return 0;
    const std::string state = text_at(status, "state");
    if (state == "ready") {
      throw Failure{kRefused, "the drain was undone, the state is " + state};
    }
    const TimePoint now = Clock::now();
    if (now >= end) {
      throw Failure{kRefused, "connections left after " +
                                  format_duration(*invocation.wait_at_most) + ": " +
                                  text_at(status, "connections")};
    }
    ::poll(nullptr, 0,
           static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(
                                std::min<Duration>(kLookInterval, end - now))
                                .count()));
  }
}

}  // namespace

int run_status(const Invocation& invocation, Client& client) {
  const Api api(client);
  const json::object status = api.get("/v1/status");
  if (invocation.json) {
    print_json(status);
  } else {
    print(status_text(status));
  }
  return 0;
}

int run_routes(const Invocation& invocation, Client& client) {
  const Api api(client);
  return list(invocation, api.list("/v1/routes"), routes_table);
}

int run_servers(const Invocation& invocation, Client& client) {
  const Api api(client);
  return list(invocation, api.list("/v1/servers"), servers_table);
}

int run_connections(const Invocation& invocation, Client& client) {
  const Api api(client);
  const bool by_id = invocation.sort.empty() || invocation.sort == "id";
  const bool sorts_here = !by_id && !is_one_page(invocation.limit);
  const std::uint64_t limit = sorts_here ? 0 : invocation.limit;
  std::string query = "sort=" + (by_id || sorts_here ? "id" : invocation.sort);
  // The largest pages.
  if (limit == 0) query += "&limit=" + std::to_string(kMostPageItems);
  if (!invocation.route.empty()) query += "&route=" + percent_encoded(invocation.route);
  json::object found = api.list("/v1/connections", query, limit);
  if (sorts_here) sort(found["items"].as_array(), invocation);
  return list(invocation, found, connections_table);
}

int run_captures(const Invocation& invocation, Client& client) {
  const Api api(client);
  return list(invocation, api.list("/v1/captures"), captures_table);
}

int run_mirrors(const Invocation& invocation, Client& client) {
  const Api api(client);
  return list(invocation, api.list("/v1/mirrors"), mirrors_table);
}

// One that cannot be killed does not keep the others alive.
int run_kill(const Invocation& invocation, Client& client) {
  const Api api(client);
  int status = 0;
  for (const std::string& id : invocation.ids) {
    try {
      const json::object answer =
          api.change("POST", "/v1/connections/" + percent_encoded(id) + "/kill");
      done(invocation, answer, "killed " + cell(id));
    } catch (const Failure& failure) {
      if (failure.status != kRefused) throw;
      status = kRefused;
      std::fprintf(stderr, "sluice-ctl: kill %s: %s\n", one_line(id).c_str(),
                   one_line(failure.message).c_str());
    }
  }
  return status;
}

int run_drain(const Invocation& invocation, Client& client) {
  const Api api(client);
  const json::object answer = api.change("POST", "/v1/drain");
  done(invocation, answer, "/readyz answers 503; connections are still accepted");
  if (!invocation.waits) return 0;
  std::fflush(stdout);
  const int status = wait_for_drain(invocation, api);
  if (status == 0 && !invocation.json) print("there are no connections\n");
  return status;
}

int run_undrain(const Invocation& invocation, Client& client) {
  const Api api(client);
  return done(invocation, api.change("POST", "/v1/undrain"), "/readyz answers 200");
}

int run_capture(const Invocation& invocation, Client& client) {
  const Api api(client);
  const json::object answer =
      api.change("POST", "/v1/routes/" + percent_encoded(invocation.route) + "/capture",
                 {{"enabled", invocation.order == "on"}});
  return done(invocation, answer, "capture of " + cell(invocation.route) + ": " + invocation.order);
}

int run_server(const Invocation& invocation, Client& client) {
  const Api api(client);
  const json::object answer = api.change(
      "POST",
      "/v1/servers/" + percent_encoded(invocation.route) + '/' + percent_encoded(invocation.server),
      {{"state", invocation.order}});
  // With `up` the state is what its checks say.
  return done(
      invocation, answer,
      cell(invocation.server) + " of " + cell(invocation.route) + ": " + text_at(answer, "state"));
}

int run_log_level(const Invocation& invocation, Client& client) {
  const Api api(client);
  const json::object answer =
      invocation.order.empty() ? api.get("/v1/log-level")
                               : api.change("PUT", "/v1/log-level", {{"level", invocation.order}});
  return done(invocation, answer, text_at(answer, "level"));
}

int run_ready(const Invocation& invocation, Client& client) {
  const Api api(client);
  api.check_ready();
  return done(invocation, {}, "ready");
}

}  // namespace sluice::ctl
