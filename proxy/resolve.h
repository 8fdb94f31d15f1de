#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/error.h"

namespace sluice {

/// All addresses of `name`, in the resolver's order; blocks until they are known. For the control
/// thread, before there are workers. `to_listen`: addresses to bind to, not to connect to.
[[nodiscard]] Result<std::vector<SocketAddress>> resolve(const HostPort& name, bool to_listen);

/// What a look-up found, in its order, each address once.
[[nodiscard]] std::vector<SocketAddress> addresses_of(
    const boost::asio::ip::tcp::resolver::results_type& results);

}  // namespace sluice
