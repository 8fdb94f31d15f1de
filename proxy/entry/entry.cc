#include "proxy/entry/entry.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "iolib/wire/client_hello.h"
#include "iolib/wire/proxy_header.h"

namespace sluice {
namespace {

bool is_trusted(const RouteConfig& route, const SocketAddress& peer) {
  return std::ranges::any_of(route.proxy_trust,
                             [&](const Prefix& each) { return each.contains(peer); });
}

// Whether the stream may be a hello that has not come whole, and a match looks at it.
bool has_begun_hello(const RouteConfig& route, std::span<const std::byte> seen) {
  return !seen.empty() && std::ranges::any_of(route.matches, &RouteMatch::reads_hello) &&
         std::holds_alternative<wire::NeedsBytes>(wire::parse_client_hello(seen));
}

}  // namespace

Entry::Entry(Reactor& reactor, const RouteConfig& route, int fd)
    : route_(route), peek_(reactor, fd, reactor.now() + to_duration(route.peek_timeout)) {}

// Whether a header is expected depends on the peer alone, never on the bytes: else any client could
// send one.
Task<EndReason> Entry::identify(SocketAddress& client, SocketAddress& target) {
  if (!is_trusted(route_, client)) {
    co_return route_.proxy_in == ProxyIn::required ? EndReason::denied : EndReason::none;
  }
  for (;;) {
    const auto parsed = wire::parse_proxy_header(peek_.seen());
    if (std::holds_alternative<wire::NotProxy>(parsed)) co_return EndReason::proxy_header;
    if (const auto* header = std::get_if<wire::ProxyHeader>(&parsed)) {
      peek_.take(header->size_bytes);
      if (header->client.family() != AF_UNSPEC) {
        client = header->client;
        target = header->target;
      }
      co_return EndReason::none;
    }
    switch (co_await peek_.wait_for(std::get<wire::NeedsBytes>(parsed).total)) {
      case Peek::Outcome::seen:
        break;
      case Peek::Outcome::ended:
        // A load balancer that only looks whether somebody listens leaves like this.
        co_return peek_.seen().empty() ? EndReason::left : EndReason::proxy_header;
      case Peek::Outcome::late:
        co_return EndReason::peek_timeout;
      case Peek::Outcome::cancelled:
        co_return EndReason::left;
    }
  }
}

// A client that says nothing may wait for the server to speak first: it fits no match. One that
// began a hello would be sent to the wrong server.
Task<EndReason> Entry::choose_route(const SocketAddress& client, Choice& choice) {
  bool is_all = false;
  for (;;) {
    auto chosen = choose(route_.matches, {peek_.seen(), is_all, client});
    if (auto* found = std::get_if<Choice>(&chosen)) {
      choice = std::move(*found);
      co_return EndReason::none;
    }
    switch (co_await peek_.wait_for(std::get<wire::NeedsBytes>(chosen).total)) {
      case Peek::Outcome::seen:
        break;
      case Peek::Outcome::ended:
        is_all = true;
        break;
      case Peek::Outcome::late:
        if (has_begun_hello(route_, peek_.seen())) co_return EndReason::peek_timeout;
        is_all = true;
        break;
      case Peek::Outcome::cancelled:
        co_return EndReason::left;
    }
  }
}

}  // namespace sluice
