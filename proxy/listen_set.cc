#include "proxy/listen_set.h"

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

}  // namespace

bool ListenSet::insert(const ListenAddress& address) {
  bool fresh = true;
  for (std::string& key : keys_of(address)) fresh = keys_.insert(std::move(key)).second && fresh;
  return fresh;
}

}  // namespace sluice
