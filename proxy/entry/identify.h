#pragma once

#include "iolib/base/address.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"
#include "iolib/relay/end_reason.h"
#include "proxy/config/config.h"
#include "proxy/entry/peek.h"

namespace sluice {

/// Finds out which client a connection is from, where a load balancer in front says so in a PROXY
/// header. Lives as long as that takes.
class Identify {
 public:
  /// Borrows everything. `fd`: the connection's socket.
  Identify(Reactor& reactor, const RouteConfig& route, int fd);

  /// Reads the header if `client`, the peer's address, is trusted; sets `client` and `target` to
  /// what it says. Returns why the connection ends, or none.
  [[nodiscard]] Task<EndReason> run(SocketAddress& client, SocketAddress& target);
  /// Makes run() end soon.
  void cancel() { peek_.cancel(); }

 private:
  const RouteConfig& route_;
  Peek peek_;
};

}  // namespace sluice
