#include "proxy/config/listen_set.h"

#include <ifaddrs.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

namespace sluice {
namespace {

/// Names compare without case (RFC 4343).
std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

/// The address if it is numeric. IPv4-mapped becomes IPv4, which it connects to.
std::optional<SocketAddress> numeric_of(const HostPort& address) {
  const Result<SocketAddress> numeric = numeric_address(address);
  if (!numeric) return std::nullopt;
  return SocketAddress::from(numeric->data(), numeric->size_bytes());
}

std::string key_of(const HostPort& address) {
  const std::optional<SocketAddress> numeric = numeric_of(address);
  return numeric ? numeric->to_string() : lower_case(to_string(TargetAddress(address)));
}

/// The same key for all spellings of a path.
std::string key_of(const UnixEndpoint& endpoint) {
  if (endpoint.is_abstract()) return "unix:" + endpoint.path;
  std::error_code error;
  const auto path = std::filesystem::weakly_canonical(endpoint.path, error);
  return "unix:" + (error ? endpoint.path : path.string());
}

/// Whether an interface has the address now. A test with bind(2) would be wrong: with
/// net.ipv4.ip_nonlocal_bind it accepts every address.
bool is_of_this_machine(const SocketAddress& address) {
  ifaddrs* interfaces = nullptr;
  if (::getifaddrs(&interfaces) != 0) return false;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(interfaces, &::freeifaddrs);
  for (const ifaddrs* each = interfaces; each != nullptr; each = each->ifa_next) {
    if (SocketAddress::from(each->ifa_addr, sizeof(sockaddr_in6)) == address) return true;
  }
  return false;
}

std::vector<std::string> keys_of(const ListenAddress& address) {
  if (const auto* path = std::get_if<UnixEndpoint>(&address)) return {key_of(*path)};
  const auto& host_port = std::get<HostPort>(address);
  if (host_port.port == 0) return {};
  if (host_port.host.empty()) {
    const std::string port = std::to_string(host_port.port);
    return {"0.0.0.0:" + port, "[::]:" + port};
  }
  return {key_of(host_port)};
}

/// The host and port that connections go to, if the target has one.
std::optional<HostPort> place_of(const TargetAddress& target) {
  if (const auto* name = std::get_if<DnsName>(&target)) return HostPort{name->host, name->port};
  const auto* host_port = std::get_if<HostPort>(&target);
  return host_port == nullptr ? std::nullopt : std::optional(*host_port);
}

/// The keys of all listeners that a connection to `target` may reach.
std::vector<std::string> keys_of_target(const TargetAddress& target) {
  if (const auto* path = std::get_if<UnixEndpoint>(&target)) return {key_of(*path)};
  const std::optional<HostPort> host_port = place_of(target);
  if (!host_port) return {};
  const std::string port = std::to_string(host_port->port);
  const std::string key = key_of(*host_port);
  const std::string_view host(key.data(), key.size() - port.size() - 1);
  std::vector<std::string> keys{key};
  const bool any = host.empty() || host == "localhost";
  const bool four = any || host == "0.0.0.0";
  const bool six = any || host == "[::]";
  if (four || host == "127.0.0.1") {
    keys.insert(keys.end(), {"127.0.0.1:" + port, "localhost:" + port});
  }
  if (four || host.starts_with("127.")) keys.push_back("0.0.0.0:" + port);
  if (six || host == "[::1]") {
    keys.insert(keys.end(), {"[::]:" + port, "[::1]:" + port, "localhost:" + port});
  }
  return keys;
}

/// The key of a listener on all addresses of the family, if `address` is numeric.
std::optional<std::string> key_of_all(const HostPort& address) {
  const std::optional<SocketAddress> numeric = numeric_of(address);
  if (!numeric) return std::nullopt;
  return (numeric->family() == AF_INET ? "0.0.0.0:" : "[::]:") + std::to_string(address.port);
}

}  // namespace

std::string listen_key(const ListenAddress& address) {
  std::string all;
  for (const std::string& key : keys_of(address)) all += key + " ";
  return all;
}

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
  // Last, and only if needed: a machine can have many interfaces.
  const std::optional<HostPort> host_port = place_of(target);
  const std::optional<std::string> all = host_port ? key_of_all(*host_port) : std::nullopt;
  const auto found = all ? routes_.find(*all) : routes_.end();
  if (found != routes_.end() && is_of_this_machine(*numeric_of({host_port->host, 0}))) {
    routes.push_back(found->second);
  }
  return routes;
}

}  // namespace sluice
