#include "proxy/upstream/resolve.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <csignal>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

#include "iolib/base/shortage.h"

namespace sluice {
namespace {

using Resolver = boost::asio::ip::tcp::resolver;

std::atomic<int> threads = 0;

// In the resolver's order, without duplicates: hosts files and servers may list an address twice.
std::vector<SocketAddress> addresses_of(const Resolver::results_type& results) {
  std::vector<SocketAddress> addresses;
  for (const auto& entry : results) {
    const auto found = entry.endpoint();
    const auto size_bytes = static_cast<socklen_t>(found.size());
    const SocketAddress address = SocketAddress::from(found.data(), size_bytes);
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

// Asio throws if no descriptor is free, which would end the process.
Result<std::vector<SocketAddress>> resolve_or_fail(const HostPort& name) {
  try {
    return resolve(name, false);
  } catch (const std::exception& error) {
    return Error{0, "resolve " + name.host + ": " + error.what()};
  }
}

}  // namespace

Result<std::vector<SocketAddress>> resolve(const HostPort& name, bool to_listen) {
  boost::asio::io_context context;
  Resolver resolver(context);
  boost::system::error_code error;
  const auto flags = to_listen ? Resolver::passive : Resolver::address_configured;
  const auto results = resolver.resolve(name.host, std::to_string(name.port), flags, error);
  if (error) return Error{0, "resolve " + name.host + ": " + error.message()};
  return addresses_of(results);
}

void resolve_apart(const HostPort& name, const std::shared_ptr<boost::asio::io_context>& context,
                   std::function<void(const Result<std::vector<SocketAddress>>&)> then) {
  auto work = [name, context = context, then]() mutable {
    // Signals are for the control thread.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    boost::asio::post(*context,
                      [then = std::move(then), found = resolve_or_fail(name)] { then(found); });
    context.reset();
    --threads;
  };
  ++threads;
  try {
    start_thread(std::move(work)).detach();
  } catch (const std::system_error& error) {
    --threads;
    boost::asio::post(
        *context, [then = std::move(then), lacking = Error{0, error.what()}] { then(lacking); });
  }
}

bool resolving_apart() { return threads > 0; }

}  // namespace sluice
