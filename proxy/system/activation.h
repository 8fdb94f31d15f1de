#pragma once

#include "proxy/listen/inherited.h"

namespace sluice {

/// Takes the sockets that systemd passes to this process (sd_listen_fds(3)), and their variables
/// out of the environment. Call it once, before the process opens descriptors or starts threads.
[[nodiscard]] InheritedSockets take_activation_sockets();
/// Closes what no listener has taken, and logs one warning that names it.
void close_unused(InheritedSockets& sockets);

}  // namespace sluice
