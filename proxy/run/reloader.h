#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/admin/commands.h"
#include "proxy/health/health_thread.h"
#include "proxy/listen/listen_sockets.h"
#include "proxy/reload/prepare.h"
#include "proxy/run/admin_source.h"
#include "proxy/run/control.h"
#include "proxy/run/machine.h"
#include "proxy/run/summary.h"
#include "proxy/run/worker_thread.h"
#include "proxy/serve/shared.h"

namespace sluice {

/// Gives the running daemon a changed configuration, all of it or nothing. Belongs to the control
/// thread.
///
/// 1. A thread of its own reads the file, compares it, and binds the new addresses (prepare.h).
/// 2. New names are looked up.
/// 3. Each worker prepares what it needs to record to new directories.
/// 4. The new sockets listen. From here on nothing can fail.
/// 5. Each worker empties and closes the listeners that go, and sends no more clients to others.
/// 6. Each worker gets the same table of changes, which it applies in one turn. The reload is done
///    when all have.
class Reloader {
 public:
  using Done = std::function<void(admin::ReloadResult)>;
  /// What of the daemon changes. All are borrowed, except `captures`.
  struct Daemon {
    Control& control;
    const Workers& workers;
    HealthThread& health;
    DaemonSource& source;
    Shared& shared;
    Machine& machine;
    ListenSockets& listeners;
    RemovedRoutes& removed;
    std::shared_ptr<CaptureDirectories> captures;
    /// A reload that is no dry run begins, and has ended.
    std::function<void()> begins;
    std::function<void()> ended;
  };
  /// `arguments`: the command line, which names the file.
  Reloader(Daemon daemon, std::vector<std::string> arguments);
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;

  /// Reloads, and calls `done` with what came of it. `dry_run`: only finds out what would. Requests
  /// that come meanwhile wait; those that can have the same answer share the next reload.
  void reload(bool dry_run, Done done);

 private:
  struct Request {
    bool dry_run;
    Done done;
  };
  void begin();
  void prepared(PreparedReload reload);
  void resolved(const Result<>& result);
  void prepare_taps();
  void taps_prepared(const Result<>& result);
  void refuse(const Error& error);
  [[nodiscard]] Result<> make_ready();
  void commit();
  void apply(const std::shared_ptr<const WorkerChange>& change);
  [[nodiscard]] std::function<void()> after_all(std::function<void()> next) const;
  [[nodiscard]] std::shared_ptr<const WorkerChange> worker_change() const;
  void change_workers(const std::shared_ptr<const WorkerChange>& change);
  void change_routes(const WorkerChange& change);
  void change_process(const Config& from);
  void change_listeners();
  void committed();
  void finish();

  Daemon daemon_;
  const std::vector<std::string> arguments_;
  std::vector<OpenAddress> open_;
  std::size_t next_group_;
  std::deque<Request> requests_;       ///< the first ones are running
  std::size_t running_ = 0;            ///< how many; 0: no reload is
  PreparedReload reload_;              ///< the running one
  std::unique_ptr<LookUps> look_ups_;  ///< of its configuration
};

}  // namespace sluice
