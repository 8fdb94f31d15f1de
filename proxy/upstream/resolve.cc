#include "proxy/upstream/resolve.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <csignal>
#include <exception>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

#include "iolib/base/clock.h"
#include "iolib/base/shortage.h"
#include "proxy/names/srv_answer.h"

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

using Records = std::vector<NameRecord>;

// The configuration of the resolver, as resolv.conf(5) is now.
class ResolverState {
 public:
  ResolverState() : good_(::res_ninit(&state_) == 0) {}
  ~ResolverState() {
    if (good_) ::res_nclose(&state_);
  }
  ResolverState(const ResolverState&) = delete;
  ResolverState& operator=(const ResolverState&) = delete;
  /// Null if there is none.
  [[nodiscard]] res_state get() { return good_ ? &state_ : nullptr; }

 private:
  struct __res_state state_ {};
  bool good_;
};

// Of an answer over UDP that is truncated, libresolv gets all over TCP.
Result<Records> srv_records(const SrvName& name) {
  constexpr std::size_t kLongestMessage = 65'535;
  const auto failed = [&](const char* why) {
    return Error{0, "resolve " + name.name + ": " + why};
  };
  ResolverState state;
  if (state.get() == nullptr) return failed("no configuration of the resolver");
  std::vector<unsigned char> message(kLongestMessage);
  const int size = ::res_nquery(state.get(), name.name.c_str(), ns_c_in, ns_t_srv, message.data(),
                                static_cast<int>(message.size()));
  if (size < 0) return failed(::hstrerror(state.get()->res_h_errno));
  message.resize(std::min(message.size(), static_cast<std::size_t>(size)));
  Result<Records> records = parse_srv_answer(message);
  if (!records) return failed(records.error().to_string().c_str());
  if (records->empty()) return failed("no record to connect to");
  return records;
}

// Adds the addresses of the records' targets, as far as they are found in time. Fails if there are
// none.
Result<Records> with_addresses(Records records) {
  constexpr auto kPatience = std::chrono::seconds(30);
  const TimePoint deadline = Clock::now() + kPatience;
  for (NameRecord& record : records) {
    // With the dot, no domain of resolv.conf(5) is tried behind it.
    const HostPort target{record.target.host + ".", record.target.port};
    Result<std::vector<SocketAddress>> found =
        Clock::now() < deadline ? resolve(target, false)
                                : Error{0, "resolve " + target.host + ": no time is left"};
    if (found.has_error()) {
      record.unusable = found.error().to_string();
    } else {
      record.addresses = std::move(*found);
    }
  }
  const auto has_addresses = [](const NameRecord& each) { return !each.addresses.empty(); };
  if (std::ranges::none_of(records, has_addresses)) return Error{0, records.front().unusable};
  return records;
}

// Asio throws if no descriptor is free, which would end the process.
Result<Records> look_up_or_fail(const TargetAddress& name) {
  try {
    return look_up_name(name);
  } catch (const std::exception& error) {
    return Error{0, "resolve " + to_string(name) + ": " + error.what()};
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

Result<std::vector<NameRecord>> look_up_name(const TargetAddress& name) {
  if (const auto* srv = std::get_if<SrvName>(&name)) {
    Result<Records> records = srv_records(*srv);
    return records ? with_addresses(*std::move(records)) : records;
  }
  const auto* dns = std::get_if<DnsName>(&name);
  Result<std::vector<SocketAddress>> addresses =
      resolve(dns == nullptr ? std::get<HostPort>(name) : HostPort{dns->host, dns->port}, false);
  if (!addresses) return addresses.error();
  return Records{{.addresses = *std::move(addresses)}};
}

void look_up_apart(const TargetAddress& name,
                   const std::shared_ptr<boost::asio::io_context>& context,
                   std::function<void(const Result<std::vector<NameRecord>>&)> then) {
  auto work = [name, context = context, then]() mutable {
    // Signals are for the control thread.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    boost::asio::post(*context,
                      [then = std::move(then), found = look_up_or_fail(name)] { then(found); });
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
