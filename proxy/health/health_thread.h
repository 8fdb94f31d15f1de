#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/reactor/reactor.h"
#include "proxy/health/checker.h"
#include "proxy/upstream/changes.h"
#include "proxy/upstream/route.h"

namespace sluice {

/// The thread that checks the servers, with its own reactor. Only the control thread uses it,
/// unless noted otherwise.
class HealthThread {
 public:
  /// Borrows `changes`. The hooks are called on its thread; `check` and `checked_once` are its own.
  HealthThread(ServerChanges& changes, HealthChecker::Hooks hooks);
  /// Gives up the checks that are under way.
  ~HealthThread();
  HealthThread(const HealthThread&) = delete;
  HealthThread& operator=(const HealthThread&) = delete;

  /// Starts the thread, which checks the servers of these routes.
  [[nodiscard]] Result<> start(const std::vector<Route>& routes);
  /// Waits until each server has been checked once, a second at most. Once, after start().
  void await_first_checks();
  /// Whether it has been started. Any thread.
  [[nodiscard]] bool is_running() const { return running_.load(std::memory_order_acquire); }

  // After start().

  /// See HealthChecker.
  void update(const Route& route);
  void remove(std::size_t number);
  [[nodiscard]] HealthChecker::LastChecks last_checks(std::size_t route);
  /// Passes the last checks of all routes to `take`, on its own thread. Any thread.
  void get_last_checks(std::function<void(HealthChecker::LastChecks)> take);

 private:
  [[nodiscard]] Result<> open(const std::vector<Route>& routes);

  ServerChanges& changes_;
  HealthChecker::Hooks hooks_;
  std::promise<void> checked_;  ///< each server once
  std::unique_ptr<Reactor> reactor_;
  std::optional<HealthChecker> checker_;
  std::thread thread_;
  std::atomic<bool> running_{false};
};

}  // namespace sluice
