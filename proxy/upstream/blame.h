#pragma once

#include <cerrno>

#include "iolib/base/endpoint.h"

namespace sluice {

/// Whether the error means that no descriptor or memory is left at this moment.
[[nodiscard]] inline bool is_shortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/// Whether a failed connect is this machine's own fault: it says nothing about the server.
[[nodiscard]] inline bool is_own_fault(int error, bool is_unix) {
  const bool refused_here = error == EPERM || error == EACCES;  // by a firewall of this machine
  const bool unwatched = error == ENOSPC;                       // fs.epoll.max_user_watches
  return is_shortage(error) || is_own_failure(error) || unwatched || (refused_here && !is_unix);
}

}  // namespace sluice
