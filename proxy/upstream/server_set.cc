#include "proxy/upstream/server_set.h"

#include <string_view>
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

}  // namespace

std::vector<Endpoint> fixed_endpoints(const TargetAddress& address) {
  if (const auto* path = std::get_if<UnixEndpoint>(&address)) return {make_endpoint(*path)};
  const auto* name = std::get_if<HostPort>(&address);
  return name == nullptr ? std::vector<Endpoint>() : numeric_endpoints(*name);
}

std::shared_ptr<const ServerSet> make_server_set(const RouteConfig& config) {
  auto set = std::make_shared<ServerSet>();
  set->balance = config.balance;
  if (!is_server(config.target())) return set;
  for (const ServerConfig& each : config.to) {
    auto server = std::make_shared<Server>();
    server->index = set->servers.size();
    server->name = to_string(each.address);
    server->weight = each.weight;
    server->backup = each.backup;
    server->endpoints = fixed_endpoints(each.address);
    server->load = std::make_shared<ServerLoad>();
    const auto index = static_cast<std::uint32_t>(set->servers.size());
    if (each.weight > 0) set->tiers.at(each.backup ? 1 : 0).members.push_back(index);
    set->servers.push_back(std::move(server));
  }
  if (config.balance == Balance::source_hash) {
    for (ServerSet::Tier& tier : set->tiers) tier.table = table_of(*set, tier);
  }
  return set;
}

std::shared_ptr<const ServerSet> with_endpoints(const ServerSet& set, std::size_t index,
                                                std::vector<Endpoint> endpoints) {
  auto changed = std::make_shared<ServerSet>(set);
  const Server& known = *set.servers[index];
  auto server = std::make_shared<Server>();
  server->index = known.index;
  server->name = known.name;
  server->weight = known.weight;
  server->backup = known.backup;
  server->endpoints = std::move(endpoints);
  server->load = known.load;
  changed->servers[index] = std::move(server);
  return changed;
}

}  // namespace sluice
