#include "proxy/system/activation.h"

#include <fcntl.h>
#include <unistd.h>

#include <climits>
#include <cstdint>
#include <string>

#include "iolib/base/owned_fd.h"
#include "proxy/log/log.h"
#include "proxy/system/environment.h"

namespace sluice {
namespace {

constexpr int kFirstDescriptor = 3;  // SD_LISTEN_FDS_START

}  // namespace

InheritedSockets take_activation_sockets() {
  const auto pid = number_of_variable("LISTEN_PID");
  const auto count = number_of_variable("LISTEN_FDS");
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
  InheritedSockets sockets;
  if (!pid || !count || *pid != static_cast<std::uint64_t>(::getpid())) return sockets;
  for (std::uint64_t i = 0; i < *count && i < INT_MAX - kFirstDescriptor; ++i) {
    const int fd = kFirstDescriptor + static_cast<int>(i);
    // A count that is too large must not close what this process opens later.
    if (::fcntl(fd, F_GETFD) < 0) break;
    sockets.add(OwnedFd(fd));
  }
  return sockets;
}

void close_unused(InheritedSockets& sockets) {
  if (sockets.empty()) return;
  std::string names;
  for (const std::string& each : sockets.left()) {
    if (!names.empty()) names += ", ";
    names += each;
  }
  log::warn("sockets_unused", {{"addresses", names},
                               {"reason", "no listener of the configuration has this address"}});
  sockets = {};
}

}  // namespace sluice
