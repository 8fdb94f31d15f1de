#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/json/json.h"
#include "proxy/listen/unix_socket.h"
#include "proxy/takeover/predecessors.h"
#include "proxy/taps/handed_captures.h"

namespace sluice::takeover {

/// What a process gives to its successor. The sockets are copies: both processes have them.
struct Handover {
  std::int64_t pid = 0;
  OwnedFd process;                ///< of the giver, see open_process()
  std::vector<OwnedFd> sockets;   ///< all that listen, in the order in which they were bound
  std::vector<SocketPath> paths;  ///< of unix sockets; whoever has them last removes them
  Ancestors ancestors;
  std::vector<std::string> runs;  ///< under which the giver records
  HandedCaptures captures;
  json::object runtime;  ///< what differs from the configuration, see runtime_state.h
};

/// A handover as a message: its descriptors are `descriptors`, in order.
struct HandoverMessage {
  json::object body;
  std::vector<OwnedFd> descriptors;
};
[[nodiscard]] HandoverMessage to_message(Handover handover);
/// The reverse. An error if the descriptors are not those that the body counts.
[[nodiscard]] Result<Handover> from_message(HandoverMessage message);

}  // namespace sluice::takeover
