#include "proxy/admin/servers.h"

#include <chrono>

#include "proxy/admin/answer.h"
#include "proxy/upstream/ejection.h"

namespace sluice::admin {
namespace {

json::object server_json(const Route& route, const Server& server, const Checks& checks,
                         TimePoint now) {
  const ServerLoad& load = *server.load;
  json::object object;
  object["route"] = json_text(route.config.name);
  object["server"] = json_text(server.name);
  object["state"] = json::string(state_name(load, now));
  object["ordered"] = json::string(name_of(load.order.load(std::memory_order_relaxed)));
  object["backup"] = server.backup;
  object["weight"] = server.weight;
  object["connections"] = load.active.load(std::memory_order_relaxed);
  json::object& limits = object["limits"].emplace_object();
  if (server.most != Server::kNoLimit) {
    limits["server-connections"] = json::object{{"limit", server.most}, {"used", load.used()}};
  }
  object["connect_failures"] = json_decimal(load.all_failures());
  const auto check = checks.find(&load);
  if (check == checks.end()) {
    object["check"] = nullptr;
    object["check_age_seconds"] = nullptr;
  } else {
    object["check"] = json_text(check->second.text);
    object["check_age_seconds"] = std::chrono::duration<double>(check->second.age).count();
  }
  return object;
}

}  // namespace

json::array servers_json(const Routes& routes, const Checks& checks, TimePoint now) {
  json::array items;
  for (const auto& route : routes) {
    for (const ServerRef& server : route->servers->servers) {
      items.push_back(server_json(*route, *server, checks, now));
    }
  }
  return items;
}

}  // namespace sluice::admin
