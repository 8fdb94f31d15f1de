#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "iolib/base/clock.h"
#include "proxy/admin/admin_thread.h"
#include "proxy/run/control.h"
#include "proxy/run/worker_thread.h"
#include "proxy/system/notify.h"
#include "proxy/system/watchdog.h"

namespace sluice {

/// The daemon as a service of systemd, which learns how it is. Without systemd nothing happens.
/// Control thread.
class Service {
 public:
  /// Borrows all of them. `watchdog_time`: see take_watchdog_time().
  Service(Duration watchdog_time, Control& control, const Workers& workers,
          admin::AdminThread& admin)
      : watchdog_time_(watchdog_time), control_(control), workers_(workers), admin_(admin) {}

  // Each `status` is one line for people.

  /// Every listener accepts, and no other process is the service any more. Says nothing before.
  void begin(std::string_view status);
  /// A reload begins, and then ends, whether it has changed something or not.
  void reloading() { notify_.reloading(); }
  void reloaded(std::string_view status) { notify_.ready(status); }
  void status(std::string_view status) { notify_.status(status); }
  void stopping(std::string_view status);
  /// Process `successor` accepts instead of this one, which drains. If the successor is not in this
  /// service's control group, this process stays the service until it ends.
  void hand_over(pid_t successor);

 private:
  void watch();

  const Duration watchdog_time_;
  Control& control_;
  const Workers& workers_;
  admin::AdminThread& admin_;
  Notify notify_{std::string_view()};
  std::unique_ptr<Watchdog> watchdog_;  ///< null if systemd does not watch this process
  bool handed_over_ = false;
};

}  // namespace sluice
