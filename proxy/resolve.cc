#include "proxy/resolve.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <string>

namespace sluice {

Result<std::vector<SocketAddress>> resolve(const HostPort& name, bool to_listen) {
  using Resolver = boost::asio::ip::tcp::resolver;
  boost::asio::io_context context;
  Resolver resolver(context);
  boost::system::error_code error;
  const auto flags = to_listen ? Resolver::passive : Resolver::address_configured;
  const auto results = resolver.resolve(name.host, std::to_string(name.port), flags, error);
  if (error) return Error{0, "resolve " + name.host + ": " + error.message()};
  return addresses_of(results);
}

std::vector<SocketAddress> addresses_of(
    const boost::asio::ip::tcp::resolver::results_type& results) {
  std::vector<SocketAddress> addresses;
  for (const auto& entry : results) {
    const auto found = entry.endpoint();
    const auto size_bytes = static_cast<socklen_t>(found.size());
    const SocketAddress address = SocketAddress::from(found.data(), size_bytes);
    // Hosts files and servers may name one twice.
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

}  // namespace sluice
