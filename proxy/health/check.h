#pragma once

#include <string>

#include "iolib/base/clock.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"
#include "proxy/config/config.h"
#include "proxy/health/verdict.h"
#include "proxy/upstream/server.h"

namespace sluice {

struct CheckOutcome {
  CheckResult result = CheckResult::passed;
  std::string reason = {};  ///< why it did not pass
};

/// Checks a server once, as the route says, until `deadline` at most. Both are borrowed until the
/// task is done.
///
/// A check by TCP is half-open: the kernel holds the last acknowledgment of the handshake back, and
/// the close sends a reset in its place. So the server never accepts the connection, and does not
/// log it. If this thread stands still for about 200 ms in between, the kernel sends the
/// acknowledgment, and the server accepts a connection that is reset at once. A unix server sees an
/// ordinary connection that ends.
[[nodiscard]] Task<CheckOutcome> check(Reactor& reactor, const Server& server,
                                       const RouteConfig& route, TimePoint deadline);

}  // namespace sluice
