#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/error.h"
#include "proxy/names/name_set.h"

namespace sluice {

/// Returns all addresses of `name`, in the resolver's order. Blocks until they are known. Any
/// thread, except those that serve. `to_listen`: the addresses are for binding, not for connecting.
[[nodiscard]] Result<std::vector<SocketAddress>> resolve(const HostPort& name, bool to_listen);

/// Looks up a HOST:PORT or dns: target, which gives one record, or the records of a srv: target and
/// the addresses of their targets. `known`: what the answers so far had; if a family is missing
/// now, a further look-up finds out whether that is so or its answer failed. Blocks like
/// resolve().
[[nodiscard]] Result<std::vector<NameRecord>> look_up_name(const TargetAddress& name,
                                                           const KnownFamilies& known = {});

/// Looks `name` up on its own thread, so that a name whose servers are silent delays no other.
/// Calls `then` with the result on `context`'s thread.
void look_up_apart(const TargetAddress& name, const KnownFamilies& known,
                   const std::shared_ptr<boost::asio::io_context>& context,
                   std::function<void(const Result<std::vector<NameRecord>>&)> then);
/// Calls `work` on a thread of its own, for what may wait as long, and then `then` on `context`'s
/// thread.
[[nodiscard]] Result<> run_apart(std::function<void()> work,
                                 const std::shared_ptr<boost::asio::io_context>& context,
                                 std::function<void()> then);
/// Whether such a thread still runs, as it does while name servers are silent. exit(3) would
/// destroy what it uses.
[[nodiscard]] bool resolving_apart();

}  // namespace sluice
