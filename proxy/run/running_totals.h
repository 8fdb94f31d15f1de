#pragma once

#include "proxy/run/admin_source.h"
#include "proxy/takeover/totals.h"

namespace sluice {

/// What this process has counted, and what it has inherited of that. The metrics add both up, so
/// that they never fall when another process takes over. Any thread; not two at once.
class RunningTotals {
 public:
  /// Borrows it.
  explicit RunningTotals(DaemonSource& source) : source_(source) {}

  /// What this process alone has counted so far.
  [[nodiscard]] takeover::Totals own() const;
  /// Everything that this process has not counted itself, in place of what it has inherited so far.
  void inherit(const takeover::Totals& totals);
  /// What this process alone uses of what limits count: connections of routes and servers.
  [[nodiscard]] takeover::Totals held() const;
  /// What processes use that this one has replaced, in place of what they used so far. It counts
  /// against the limits of the same routes and servers.
  void set_held(const takeover::Totals& held);

 private:
  DaemonSource& source_;
};

}  // namespace sluice
