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

std::uint32_t most_of(const ServerConfig& server, const RouteConfig& route) {
  const std::uint64_t most = server.connections > 0 ? server.connections : route.server_connections;
  return most > 0 ? static_cast<std::uint32_t>(most) : Server::kNoLimit;
}

// A server of a name: the known one if it has not changed, else a new one with the load of that.
ServerRef make_named(std::size_t index, const RouteConfig& route, const NamedServer& found,
                     const Endpoint& endpoint, const ServerRef& known) {
  const ServerConfig& config = route.to[index];
  auto server = std::make_shared<Server>();
  server->index = index;
  server->name = found.name;
  server->weight = config.weight * found.weight;  // one of them is 1
  server->backup = config.backup || found.backup;
  server->most = most_of(config, route);
  server->endpoints = {endpoint};
  if (known == nullptr) {
    server->load = std::make_shared<ServerLoad>();
    return server;
  }
  server->load = known->load;
  const auto facts = [](const Server& each) {
    return std::tie(each.index, each.name, each.weight, each.backup, each.most);
  };
  return facts(*server) == facts(*known) ? known : ServerRef(std::move(server));
}

// The same server in another place of the configuration, or of another weight.
std::shared_ptr<Server> copy_of(const Server& server) {
  auto copy = std::make_shared<Server>();
  copy->index = server.index;
  copy->name = server.name;
  copy->weight = server.weight;
  copy->backup = server.backup;
  copy->most = server.most;
  copy->endpoints = server.endpoints;
  copy->load = server.load;
  copy->preferred = server.preferred.load(std::memory_order_relaxed);
  return copy;
}

bool is_same(const Server& a, const Server& b) {
  const auto facts = [](const Server& each) {
    return std::tie(each.index, each.name, each.weight, each.backup, each.most, each.endpoints,
                    each.load);
  };
  return facts(a) == facts(b);
}

/// The servers of a route before its configuration changed.
class KnownServers {
 public:
  KnownServers(const ServerSet& set, const RouteConfig& config) : set_(set), config_(config) {
    for (const ServerRef& server : set.servers) {
      if (is_server(config.to[server->index].address)) by_name_[server->name] = server;
      if (server->endpoints.size() == 1) by_address_[server->endpoints.front().text] = server;
    }
  }

  // What the server of the new configuration is.
  ServerRef find(const ServerRef& server) {
    ServerRef known = by_name_[server->name];
    if (known == nullptr && server->endpoints.size() == 1) {
      known = by_address_[server->endpoints.front().text];
    }
    if (known == nullptr || !used_.insert(known->load.get()).second) return server;
    const std::shared_ptr<Server> same = copy_of(*server);
    same->load = known->load;
    if (same->endpoints.empty()) same->endpoints = known->endpoints;
    same->preferred = known->preferred < same->endpoints.size() ? known->preferred.load() : 0;
    return is_same(*same, *known) ? known : ServerRef(same);
  }
  // Those of a name, for its place in the new configuration.
  std::vector<ServerRef> of_name(const TargetAddress& name, std::size_t index,
                                 std::uint32_t most) const {
    std::vector<ServerRef> servers;
    for (const ServerRef& server : set_.servers) {
      if (config_.to[server->index].address != name) continue;
      if (server->index == index && server->most == most) {
        servers.push_back(server);
      } else {
        const std::shared_ptr<Server> moved = copy_of(*server);
        moved->index = index;
        moved->most = most;
        servers.push_back(moved);
      }
    }
    return servers;
  }

 private:
  const ServerSet& set_;
  const RouteConfig& config_;
  std::unordered_map<std::string, ServerRef> by_name_;  // those that are configured
  std::unordered_map<std::string, ServerRef> by_address_;
  std::unordered_set<const ServerLoad*> used_;
};

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
    server->most = most_of(each, config);
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
  const std::shared_ptr<Server> server = copy_of(*known);
  server->endpoints = std::move(endpoints);
  server->preferred = 0;
  known = server;
  return changed;
}

std::shared_ptr<const ServerSet> with_known_servers(const RouteConfig& config,
                                                    const std::shared_ptr<const ServerSet>& known,
                                                    const RouteConfig& old_config) {
  KnownServers old(*known, old_config);
  const std::shared_ptr<const ServerSet> configured = make_server_set(config);
  auto set = std::make_shared<ServerSet>();
  set->balance = config.balance;
  auto next = configured->servers.begin();
  for (std::size_t index = 0; index < config.to.size(); ++index) {
    const TargetAddress& address = config.to[index].address;
    if (is_server(address)) add(*set, old.find(*next++));
    if (!names_servers(address)) continue;
    const std::uint32_t most = most_of(config.to[index], config);
    for (ServerRef& server : old.of_name(address, index, most)) add(*set, std::move(server));
  }
  if (set->balance == known->balance && set->servers == known->servers) return known;
  make_tables(*set);
  return set;
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
      add(*changed, make_named(index, config, each, endpoint,
                               known == before.end() ? nullptr : known->second));
    }
  }
  make_tables(*changed);
  return {std::move(changed), count};
}

}  // namespace sluice
