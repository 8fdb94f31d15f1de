#include "proxy/listen_set.h"

#include <string_view>
#include <vector>

namespace sluice {
namespace {

/// Names are compared without regard to case (RFC 4343).
std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::vector<std::string> keys_of(const ListenAddress& address) {
  const auto* host_port = std::get_if<HostPort>(&address);
  if (host_port == nullptr) return {to_string(address)};
  if (host_port->port == 0) return {};
  if (host_port->host.empty()) {
    const std::string port = std::to_string(host_port->port);
    return {"0.0.0.0:" + port, "[::]:" + port};
  }
  const Result<SocketAddress> numeric = numeric_address(*host_port);
  return {numeric ? numeric->to_string() : lower_case(to_string(address))};
}

/// Where a connection to `target` may arrive.
std::vector<std::string> keys_of_target(const TargetAddress& target) {
  const auto* host_port = std::get_if<HostPort>(&target);
  if (host_port == nullptr) return {to_string(target)};
  const std::string port = std::to_string(host_port->port);
  const Result<SocketAddress> numeric = numeric_address(*host_port);
  const std::string key = numeric ? numeric->to_string() : lower_case(to_string(target));
  const std::string_view host(key.data(), key.size() - port.size() - 1);
  const bool any = host.empty() || host == "localhost";
  std::vector<std::string> keys{key};
  const bool four = any || host == "0.0.0.0";
  if (four || host.starts_with("127.")) keys.push_back("0.0.0.0:" + port);
  if (four || host == "127.0.0.1") {
    keys.insert(keys.end(), {"127.0.0.1:" + port, "localhost:" + port});
  }
  if (any || host == "[::1]" || host == "[::]") {
    keys.insert(keys.end(), {"[::]:" + port, "[::1]:" + port, "localhost:" + port});
  }
  return keys;
}

}  // namespace

bool ListenSet::insert(const ListenAddress& address, std::size_t route) {
  bool fresh = true;
  for (std::string& key : keys_of(address)) {
    fresh = routes_.try_emplace(std::move(key), route).second && fresh;
  }
  return fresh;
}

std::vector<std::size_t> ListenSet::reached_by(const TargetAddress& target) const {
  std::vector<std::size_t> routes;
  for (const std::string& key : keys_of_target(target)) {
    const auto found = routes_.find(key);
    if (found != routes_.end()) routes.push_back(found->second);
  }
  return routes;
}

}  // namespace sluice
