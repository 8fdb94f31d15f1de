#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "iolib/base/clock.h"
#include "iolib/base/endpoint.h"
#include "iolib/base/owned_fd.h"

namespace sluice {

/// Tells systemd how the daemon is, by the protocol of sd_notify(3). No effect if it does not ask
/// ($NOTIFY_SOCKET). A message that systemd does not take within a second is lost. One thread.
class Notify {
 public:
  /// Uses $NOTIFY_SOCKET, which stays in the environment for a process that takes over.
  Notify();
  /// `socket`: an absolute path, or `@` and an abstract name. Others, and an empty one, mean that
  /// nobody asks.
  explicit Notify(std::string_view socket);

  /// `status` is one line for people, which `systemctl status` shows.
  void ready(std::string_view status);
  /// A reload begins; ready() ends it.
  void reloading();
  void stopping(std::string_view status);
  void status(std::string_view status);
  /// Resets the watchdog.
  void alive();
  /// Process `pid` has taken over: it is the service from now on, and this one says nothing more.
  void hand_over(pid_t pid);

  /// Whether systemd asks, and this process is still the service.
  [[nodiscard]] bool asked() const { return static_cast<bool>(socket_); }

 private:
  void send(std::string_view message);

  Endpoint to_;
  OwnedFd socket_;  ///< open while there is somebody to tell
};

/// Whether systemd counts process `pid` to the same unit as this one (by its control group).
[[nodiscard]] bool is_in_own_unit(pid_t pid);

/// How long systemd waits for alive() before it restarts the service; zero if it does not. From
/// $WATCHDOG_USEC and $WATCHDOG_PID. The latter, if it names this process, is taken out of the
/// environment, for a process that takes over: call it before the process starts threads.
[[nodiscard]] Duration take_watchdog_time();

}  // namespace sluice
