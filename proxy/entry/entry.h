#pragma once

#include <memory>
#include <string>

#include "iolib/base/address.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"
#include "iolib/relay/end_reason.h"
#include "proxy/config/config.h"
#include "proxy/entry/match.h"
#include "proxy/entry/peek.h"

namespace sluice {

/// What a connection goes through before it is served, if its route asks for it: who the client is,
/// and where it goes. Lives as long as that takes.
class Entry {
 public:
  /// Borrows everything. `fd`: the connection's socket.
  Entry(Reactor& reactor, const RouteConfig& route, int fd);

  /// Whether connections of the route go through it.
  [[nodiscard]] static bool is_needed(const RouteConfig& route) {
    return route.proxy_in != ProxyIn::off || !route.matches.empty();
  }
  /// Reads a PROXY header if `client`, the peer's address, is trusted; sets `client` and `target`,
  /// the address that it connected to, to what the header says. Returns why the connection ends, or
  /// none.
  [[nodiscard]] Task<EndReason> identify(SocketAddress& client, SocketAddress& target);
  /// Finds the match that fits what the client says first. Returns why the connection ends, or
  /// none.
  [[nodiscard]] Task<EndReason> choose_route(const SocketAddress& client, Choice& choice);
  /// Makes both end soon.
  void cancel() { peek_.cancel(); }

 private:
  const RouteConfig& route_;
  Peek peek_;
};

}  // namespace sluice
