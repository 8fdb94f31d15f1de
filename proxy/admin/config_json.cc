#include "proxy/admin/config_json.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/admin/answer.h"
#include "proxy/config/option_text.h"
#include "proxy/config/options.h"

namespace sluice::admin {
namespace {

using Texts = std::vector<std::string>;

json::array array_of(const Texts& texts) {
  json::array array;
  for (const std::string& each : texts) array.emplace_back(json_text(each));
  return array;
}

json::value value_of(const Option& option, const Texts& texts) {
  if (option.repeated) return array_of(texts);
  if (texts.empty()) return nullptr;
  return is_secret(option) ? json::string(kNotShown) : json_text(texts.front());
}

json::value target_json(const ServerConfig& server) {
  json::string address = json_text(to_string(server.address));
  const bool is_usual = server.weight == ServerConfig().weight && !server.backup;
  if (is_usual && server.connections == 0) return address;
  json::object object;
  object["address"] = std::move(address);
  object["weight"] = server.weight;
  object["backup"] = server.backup;
  if (server.connections > 0) object["connections"] = server.connections;
  return object;
}

json::object match_json(const RouteMatch& match) {
  json::object object;
  for (const std::string_view condition : kConditions) {
    const Texts texts = condition_texts(match, condition);
    if (!texts.empty()) object[condition] = array_of(texts);
  }
  object["route"] = json_text(match.route);
  return object;
}

// `usual`: the texts of each option where no route sets it.
json::object route_json(const Config& config, const RouteConfig& route,
                        const std::vector<Texts>& usual) {
  json::object object;
  object["name"] = json_text(route.name);
  json::array listen;
  for (const ListenAddress& each : route.listen) listen.emplace_back(json_text(to_string(each)));
  object["listen"] = std::move(listen);
  json::array to;
  for (const ServerConfig& each : route.to) to.push_back(target_json(each));
  object["to"] = std::move(to);
  for (std::size_t i = 0; i < usual.size(); ++i) {
    const Option& option = options()[i];
    if ((option.places & kInRoute) == 0) continue;
    const Texts texts = option_texts(option, config, route);
    if (texts != usual[i]) object[option.name] = value_of(option, texts);
  }
  json::array matches;
  for (const RouteMatch& each : route.matches) matches.push_back(match_json(each));
  if (!matches.empty()) object["match"] = std::move(matches);
  return object;
}

}  // namespace

json::object config_json(const Config& config) {
  json::object defaults;
  std::vector<Texts> usual;
  for (const Option& option : options()) {
    usual.push_back(option_texts(option, config, RouteConfig()));
    if ((option.places & kInDefaults) == 0) continue;
    defaults[option.name] = value_of(option, usual.back());
  }
  json::array routes;
  for (const RouteConfig& each : config.routes) routes.push_back(route_json(config, each, usual));
  json::object object;
  object["defaults"] = std::move(defaults);
  object["routes"] = std::move(routes);
  return object;
}

}  // namespace sluice::admin
