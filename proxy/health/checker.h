#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "iolib/balance/random.h"
#include "iolib/base/clock.h"
#include "iolib/reactor/calling.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"
#include "proxy/health/check.h"
#include "proxy/health/verdict.h"
#include "proxy/upstream/changes.h"
#include "proxy/upstream/route.h"

namespace sluice {

/// Checks the servers of all routes that ask for it, at their intervals, and marks those that are
/// down in their ServerLoad. The routes share the places for checks, so that one whose servers do
/// not answer delays no other. Belongs to its reactor's thread. Destroy it when the loop has ended.
class HealthChecker {
 public:
  /// The most checks at the same time, of all routes; the others wait for their turn.
  static constexpr std::size_t kMostAtOnce = 1'024;

  struct Hooks {
    /// What a check does; see check(). Tests replace it.
    std::function<Task<CheckOutcome>(Reactor&, const Server&, const RouteConfig&, TimePoint)>
        check = {};
    /// Whether the server is one of this process's own listeners, which do not listen yet when the
    /// first checks begin.
    std::function<bool(const Server&)> listens_here = {};
    /// A check failed: the server's addresses may be outdated.
    std::function<void(const Route&, const Server&)> failed = {};
    /// Every server has been checked once.
    std::function<void()> checked_once = {};
    /// A server of a route with `on-down = "reset"` went down: its sessions end.
    std::function<void()> end_sessions = {};
  };

  /// Copies the routes, and borrows `changes`.
  HealthChecker(Reactor& reactor, const std::vector<Route>& routes, ServerChanges& changes,
                balance::Random random, Hooks hooks);
  HealthChecker(const HealthChecker&) = delete;
  HealthChecker& operator=(const HealthChecker&) = delete;

  /// Begins the first checks, all of them now. Call it once, on the running loop.
  void start();
  /// From now on, checks the servers that this route has now, at their addresses and in its way, or
  /// none if it has no checks. New ones are checked at once. The route may be new.
  void update(const Route& route);
  /// Checks the servers of this route no longer.
  void remove(std::size_t number);

  static constexpr std::string_view kNoCheck = "none";
  /// The last check of a server.
  struct LastCheck {
    std::string text{kNoCheck};  ///< "passed", or why it did not pass
    Duration age{};              ///< since it ended; 0 if there is none
  };
  /// Of the servers of the route, by their loads; empty if it has no checks.
  using LastChecks = std::unordered_map<const ServerLoad*, LastCheck>;
  [[nodiscard]] LastChecks last_checks(std::size_t route) const;
  /// Of the servers of all routes.
  [[nodiscard]] LastChecks all_last_checks() const;

 private:
  struct Group;
  struct Target {
    Target(Group& its_group, ServerRef its_server);
    Group& group;
    ServerRef server;
    Verdict verdict;
    std::optional<TimePoint> checked;  ///< when the last check ended
    std::string reason;                ///< why it did not pass; empty if it did
    bool awaited = false;              ///< the start waits for its first check
    bool gone = false;                 ///< the route no longer has it: its checks end
    Reactor::Sleep* pause = nullptr;   ///< between two checks
    Task<> watch;
  };
  using Targets = std::unordered_map<const ServerLoad*, std::unique_ptr<Target>>;
  /// The servers of a route, and its places for checks.
  struct Group {
    std::shared_ptr<const Route> route;      ///< without servers; null once its checks have ended
    std::shared_ptr<const ServerSet> first;  ///< the servers that start() begins with
    Targets targets;
    std::size_t watches = 0;  ///< of its targets, and of those that are gone
    std::size_t under_way = 0;
    std::deque<std::coroutine_handle<>> waiting;  ///< for a place, in order
  };
  /// A place for a check.
  class Place {
   public:
    Place(Group& group, std::size_t most) : group_(group), most_(most) {}
    [[nodiscard]] bool await_ready() const {
      return group_.under_way < most_ && group_.waiting.empty();
    }
    void await_suspend(std::coroutine_handle<> waiter) { group_.waiting.push_back(waiter); }
    void await_resume() const { ++group_.under_way; }

   private:
    Group& group_;
    std::size_t most_;
  };

  void begin(const ServerRef& server, Group& group, bool at_start);
  void end(std::unique_ptr<Target> target);
  void end_all(Group& group);
  void share_places();
  void add_last_checks(const Group& group, LastChecks& checks) const;
  void no_longer_awaited(Target& target);
  [[nodiscard]] Task<> watch(Target& target);
  void leave_place(Group& group);
  void serve_waiting();
  void forget_ended();
  void note(Target& target, CheckOutcome outcome);
  void note_change(const Target& target);
  [[nodiscard]] Duration random_below(Duration bound);

  Reactor& reactor_;
  ServerChanges& changes_;
  balance::Random random_;
  Hooks hooks_;
  std::map<std::size_t, Group> groups_;        ///< of the routes with checks, by number
  std::size_t most_at_once_ = kMostAtOnce;     ///< checks of a route
  std::vector<std::unique_ptr<Target>> gone_;  ///< until their checks have ended
  std::size_t unchecked_ = 0;                  ///< servers that the start waits for
  CallingDeferral<&HealthChecker::serve_waiting> place_left_{*this};
  CallingDeferral<&HealthChecker::forget_ended> watch_ended_{*this};
};

/// Whether the route checks its servers.
[[nodiscard]] bool checks_servers(const Route& route);

}  // namespace sluice
