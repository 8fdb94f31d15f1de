#include "proxy/upstream/resolve.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <csignal>
#include <exception>
#include <iterator>
#include <random>
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

Error unresolved(const HostPort& name, const std::string& why) {
  return Error{0, "resolve " + name.host + ": " + why};
}

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

// Looks a family up on its own: if only its answer failed, getaddrinfo() returns the others as if
// there were no more.
void add_family(NameRecord& record, const HostPort& name, int family) {
  boost::asio::io_context context;
  Resolver resolver(context);
  boost::system::error_code error;
  const auto protocol = family == AF_INET ? boost::asio::ip::tcp::v4() : boost::asio::ip::tcp::v6();
  const auto results = resolver.resolve(protocol, name.host, std::to_string(name.port),
                                        Resolver::address_configured, error);
  if (!error) {
    std::ranges::copy(addresses_of(results), std::back_inserter(record.addresses));
  } else if (error != boost::asio::error::host_not_found) {
    record.unknown_family = family;
    record.unusable = unresolved(name, error.message()).to_string();
  }
}

void add_addresses(NameRecord& record, const HostPort& name, const KnownFamilies& known) {
  Result<std::vector<SocketAddress>> found = resolve(name, false);
  if (!found) {
    record.unusable = found.error().to_string();
    return;
  }
  record.addresses = *std::move(found);
  for (const int family : {AF_INET, AF_INET6}) {
    if (!known.contains({record.target.host, family})) continue;
    const bool is_there = std::ranges::any_of(
        record.addresses, [&](const SocketAddress& each) { return each.family() == family; });
    if (!is_there) add_family(record, name, family);
  }
}

// Adds the addresses of the records' targets, as far as they are found in time. Fails if there are
// none. The order is random, so that targets whose name servers are silent do not always take the
// time of the same others.
Result<Records> with_addresses(Records records, const KnownFamilies& known) {
  constexpr auto kPatience = std::chrono::seconds(30);
  const TimePoint deadline = Clock::now() + kPatience;
  std::ranges::shuffle(records, std::minstd_rand(std::random_device()()));
  for (NameRecord& record : records) {
    // With the dot, no domain of resolv.conf(5) is tried behind it.
    const HostPort target{record.target.host + ".", record.target.port};
    if (Clock::now() < deadline) {
      add_addresses(record, target, known);
    } else {
      record.unusable = unresolved(target, "no time is left").to_string();
    }
  }
  const auto has_addresses = [](const NameRecord& each) { return !each.addresses.empty(); };
  if (std::ranges::any_of(records, has_addresses)) return records;
  return Error{0, std::ranges::min_element(records, {}, &NameRecord::unusable)->unusable};
}

// Asio throws if no descriptor is free, which would end the process.
Result<Records> look_up_or_fail(const TargetAddress& name, const KnownFamilies& known) {
  try {
    return look_up_name(name, known);
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
  if (error) return unresolved(name, error.message());
  return addresses_of(results);
}

Result<std::vector<NameRecord>> look_up_name(const TargetAddress& name,
                                             const KnownFamilies& known) {
  if (const auto* srv = std::get_if<SrvName>(&name)) {
    Result<Records> records = srv_records(*srv);
    return records ? with_addresses(*std::move(records), known) : records;
  }
  const auto* dns = std::get_if<DnsName>(&name);
  NameRecord record;
  add_addresses(record, dns == nullptr ? std::get<HostPort>(name) : HostPort{dns->host, dns->port},
                known);
  if (record.addresses.empty()) return Error{0, record.unusable};
  return Records{std::move(record)};
}

void look_up_apart(const TargetAddress& name, const KnownFamilies& known,
                   const std::shared_ptr<boost::asio::io_context>& context,
                   std::function<void(const Result<std::vector<NameRecord>>&)> then) {
  const auto found = std::make_shared<Result<std::vector<NameRecord>>>(Error{});
  const Result<> started =
      run_apart([name, known, found] { *found = look_up_or_fail(name, known); }, context,
                [then, found] { then(*found); });
  if (started.has_error()) {
    boost::asio::post(*context, [then = std::move(then), error = started.error()] { then(error); });
  }
}

Result<> run_apart(std::function<void()> work,
                   const std::shared_ptr<boost::asio::io_context>& context,
                   std::function<void()> then) {
  auto whole = [work = std::move(work), context = context, then = std::move(then)]() mutable {
    // Signals are for the control thread.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    work();
    work = nullptr;
    boost::asio::post(*context, std::move(then));
    context.reset();
    --threads;
  };
  ++threads;
  try {
    start_thread(std::move(whole)).detach();
  } catch (const std::system_error& error) {
    --threads;
    return Error{0, error.what()};
  }
  return {};
}

bool resolving_apart() { return threads > 0; }

}  // namespace sluice
