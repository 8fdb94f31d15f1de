#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "proxy/upstream/route.h"

namespace sluice::admin {

/// What an operator changes while the daemon runs. The admin thread calls these once the daemon has
/// started. None of them waits. Each calls `done` once, soon, on any thread; only as the daemon
/// ends may it drop it instead. Each change logs a line.
class AdminCommands {
 public:
  using Done = std::function<void()>;

  AdminCommands() = default;
  virtual ~AdminCommands() = default;
  AdminCommands(const AdminCommands&) = delete;
  AdminCommands& operator=(const AdminCommands&) = delete;

  /// Orders this for servers of the route. From `done` on, no connect begins to those that are not
  /// to be up.
  virtual void order(std::shared_ptr<const Route> route, std::vector<ServerRef> servers,
                     Order order, Done done) = 0;
  /// The connections of the route that begin from `done` on are recorded, or are not.
  virtual void enable_capture(std::shared_ptr<const Route> route, bool enabled, Done done) = 0;
  /// Asks clients to go elsewhere, or no longer; they are accepted all the same. `done` gets false
  /// if that is not possible, because the daemon ends.
  virtual void set_lame_duck(bool lame_duck, std::function<void(bool)> done) = 0;
};

}  // namespace sluice::admin
