#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/error.h"

namespace sluice {

/// All addresses of `name`, in the resolver's order; blocks until they are known. Any thread, but
/// those that serve. `to_listen`: addresses to bind to, not to connect to.
[[nodiscard]] Result<std::vector<SocketAddress>> resolve(const HostPort& name, bool to_listen);

/// The same on a thread of its own, so that a name whose servers are silent holds up no other;
/// `then` is called with it on `context`'s thread.
void resolve_apart(const HostPort& name, const std::shared_ptr<boost::asio::io_context>& context,
                   std::function<void(const Result<std::vector<SocketAddress>>&)> then);
/// Such a thread still runs: one does as long as name servers are silent, and exit(3) would take
/// away what it works with.
[[nodiscard]] bool resolving_apart();

}  // namespace sluice
