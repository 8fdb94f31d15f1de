#pragma once

#include <cstddef>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"
#include "proxy/upstream/route.h"

namespace sluice {

/// A connection to one of the upstreams.
struct Connected {
  OwnedFd fd;
  std::size_t upstream = 0;  ///< which of them
};

/// Tries the route's upstreams in turn, beginning with number `first`, until one accepts or
/// `deadline` has passed; each attempt gets an equal share of the time that is left.
/// `pending` points to what is being waited for, while there is something to cancel; whoever
/// cancels it has set `stopped`, which the waits that nothing can cancel look at. The error is that
/// of the last attempt.
[[nodiscard]] Task<Result<Connected>> connect_upstream(Reactor& reactor, const Route& route,
                                                       std::size_t first, TimePoint deadline,
                                                       Operation*& pending, const bool& stopped);

}  // namespace sluice
