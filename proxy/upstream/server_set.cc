#include "proxy/upstream/server_set.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>

namespace sluice {
namespace {

std::shared_ptr<const balance::Maglev> table_of(const ServerSet& set, const ServerSet::Tier& tier) {
  std::vector<balance::Maglev::Item> items;
  for (const std::uint32_t member : tier.members) {
    const Server& server = *set.servers[member];
    items.push_back({server.name, server.weight});
  }
  return items.empty() ? nullptr : std::make_shared<const balance::Maglev>(items);
}

std::vector<Endpoint> numeric_endpoints(const HostPort& address) {
  std::vector<Endpoint> endpoints;
  if (!address.host.empty()) {
    Result<SocketAddress> numeric = numeric_address(address);
    if (numeric.has_value()) endpoints.push_back(make_endpoint(*numeric));
    return endpoints;
  }
  for (const char* host : {"127.0.0.1", "::1"}) {
    endpoints.push_back(make_endpoint(*numeric_address({host, address.port})));
  }
  return endpoints;
}

void add(ServerSet& set, ServerRef server) {
  const auto index = static_cast<std::uint32_t>(set.servers.size());
  if (server->weight > 0) set.tiers.at(server->backup ? 1 : 0).members.push_back(index);
  set.servers.push_back(std::move(server));
}

void make_tables(ServerSet& set) {
  if (set.balance != Balance::source_hash) return;
  for (ServerSet::Tier& tier : set.tiers) tier.table = table_of(set, tier);
}

// A server of a name: the known one if it has not changed, else a new one with the load of that.
ServerRef make_named(std::size_t index, const ServerConfig& config, const NamedServer& found,
                     const Endpoint& endpoint, const ServerRef& known) {
  auto server = std::make_shared<Server>();
  server->index = index;
  server->name = found.name;
  server->weight = config.weight * found.weight;  // one of them is 1
  server->backup = config.backup || found.backup;
  server->endpoints = {endpoint};
  if (known == nullptr) {
    server->load = std::make_shared<ServerLoad>();
    return server;
  }
  server->load = known->load;
  const auto facts = [](const Server& each) {
    return std::tie(each.index, each.name, each.weight, each.backup);
  };
  return facts(*server) == facts(*known) ? known : ServerRef(std::move(server));
}

}  // namespace

std::vector<Endpoint> fixed_endpoints(const TargetAddress& address) {
  if (const auto* path = std::get_if<UnixEndpoint>(&address)) return {make_endpoint(*path)};
  const auto* name = std::get_if<HostPort>(&address);
  return name == nullptr ? std::vector<Endpoint>() : numeric_endpoints(*name);
}

std::shared_ptr<const ServerSet> make_server_set(const RouteConfig& config) {
  auto set = std::make_shared<ServerSet>();
  set->balance = config.balance;
  for (std::size_t index = 0; index < config.to.size(); ++index) {
    const ServerConfig& each = config.to[index];
    if (!is_server(each.address)) continue;
    auto server = std::make_shared<Server>();
    server->index = index;
    server->name = to_string(each.address);
    server->weight = each.weight;
    server->backup = each.backup;
    server->endpoints = fixed_endpoints(each.address);
    server->load = std::make_shared<ServerLoad>();
    add(*set, std::move(server));
  }
  make_tables(*set);
  return set;
}

std::shared_ptr<const ServerSet> with_endpoints(const ServerSet& set, std::size_t index,
                                                std::vector<Endpoint> endpoints) {
  auto changed = std::make_shared<ServerSet>(set);
  ServerRef& known = *std::ranges::find(changed->servers, index,
                                        [](const ServerRef& server) { return server->index; });
  auto server = std::make_shared<Server>();
  server->index = known->index;
  server->name = known->name;
  server->weight = known->weight;
  server->backup = known->backup;
  server->endpoints = std::move(endpoints);
  server->load = known->load;
  known = std::move(server);
  return changed;
}

BoundedSet with_named_servers(const ServerSet& set, const RouteConfig& config,
                              std::span<const std::span<const NamedServer>> found) {
  std::map<std::size_t, ServerRef> configured;        // by index
  std::unordered_map<std::string, ServerRef> before;  // those of names, by address
  std::unordered_set<std::string> seen;               // addresses of the new set
  for (const ServerRef& server : set.servers) {
    if (names_servers(config.to[server->index].address)) {
      before.try_emplace(server->endpoints.front().text, server);
    } else {
      configured.try_emplace(server->index, server);
      for (const Endpoint& endpoint : server->endpoints) seen.insert(endpoint.text);
    }
  }
  const std::size_t most =
      set.balance == Balance::least_connections ? kMostLeastConnections : kMostServers;
  std::size_t count = configured.size();
  auto changed = std::make_shared<ServerSet>();
  changed->balance = set.balance;
  for (std::size_t index = 0; index < config.to.size(); ++index) {
    if (const auto it = configured.find(index); it != configured.end()) add(*changed, it->second);
    for (const NamedServer& each : found[index]) {
      const Endpoint endpoint = make_endpoint(each.address);
      if (!seen.insert(endpoint.text).second || ++count > most) continue;
      const auto known = before.find(endpoint.text);
      add(*changed, make_named(index, config.to[index], each, endpoint,
                               known == before.end() ? nullptr : known->second));
    }
  }
  make_tables(*changed);
  return {std::move(changed), count};
}

}  // namespace sluice
