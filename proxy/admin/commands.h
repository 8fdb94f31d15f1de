#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/upstream/route.h"

namespace sluice::admin {

/// What a reload of the configuration has done, or with a dry run would do.
struct ReloadResult {
  enum class Outcome : std::uint8_t {
    applied,
    unchanged,       ///< the file says what already holds
    refused,         ///< the file is bad, or the machine does not allow what it says
    needs_takeover,  ///< the file changes what a running process cannot change
  };
  /// A key of a route, or a whole route, that differs.
  struct Change {
    std::string op;         ///< "add", "remove" or "change"
    std::string route;      ///< empty: a key of the process
    std::string key;        ///< empty: the whole route
    std::string old_value;  ///< empty: there was none
    std::string new_value;  ///< empty: there is none
  };
  Outcome outcome = Outcome::unchanged;
  std::vector<Change> changes = {};
  std::vector<std::string> errors = {};  ///< each with its place: "sluice.toml:2:1: …"
};
[[nodiscard]] constexpr std::string_view name_of(ReloadResult::Outcome outcome) {
  constexpr std::string_view kNames[] = {"applied", "unchanged", "refused", "needs-takeover"};
  return kNames[static_cast<std::size_t>(outcome)];
}

/// Whether another process has taken over.
struct TakeoverResult {
  bool taken = false;
  std::string reason = {};  ///< why not
  std::int64_t pid = 0;     ///< the process that has taken over
};

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

  /// Reads the configuration file again and applies it, or nothing of it. `dry_run`: only says what
  /// that would do. `done` can take as long as looking up the names of the file.
  virtual void reload(bool dry_run, std::function<void(ReloadResult)> done) = 0;
  /// Starts the installed program, and lets it take over. `done` is called when it has, or has
  /// failed to; that takes several seconds.
  virtual void take_over(std::function<void(TakeoverResult)> done) = 0;
};

}  // namespace sluice::admin
