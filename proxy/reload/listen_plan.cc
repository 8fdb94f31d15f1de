#include "proxy/reload/listen_plan.h"

#include <map>
#include <string>
#include <utility>

#include "proxy/config/listen_set.h"

namespace sluice {
namespace {

bool kernel_chooses_port(const ListenAddress& address) {
  const auto* host_port = std::get_if<HostPort>(&address);
  return host_port != nullptr && host_port->port == 0;
}

// The same for addresses that mean the same socket.
std::string key_of(const ListenAddress& address, std::optional<std::size_t> old_route) {
  if (!kernel_chooses_port(address)) return listen_key(address);
  return to_string(address) + (old_route ? " " + std::to_string(*old_route) : " new");
}

}  // namespace

std::vector<OpenAddress> addresses_of(const Config& config) {
  std::vector<OpenAddress> addresses;
  for (std::size_t route = 0; route < config.routes.size(); ++route) {
    for (const ListenAddress& each : config.routes[route].listen) {
      addresses.push_back({addresses.size(), each, route});
    }
  }
  return addresses;
}

ListenPlan plan_listeners(std::span<const OpenAddress> open, const Config& to,
                          std::span<const std::optional<std::size_t>> continues,
                          std::size_t next_group) {
  std::multimap<std::string, const OpenAddress*> left;
  for (const OpenAddress& each : open) left.emplace(key_of(each.address, each.route), &each);
  ListenPlan plan;
  for (OpenAddress& each : addresses_of(to)) {
    const auto known = left.find(key_of(each.address, continues[each.route]));
    if (known == left.end()) {
      each.group = next_group++;
      plan.added.push_back(std::move(each));
    } else {
      each.group = known->second->group;
      left.erase(known);
      plan.kept.push_back(std::move(each));
    }
  }
  for (const auto& [key, address] : left) plan.removed.push_back(*address);
  return plan;
}

}  // namespace sluice
