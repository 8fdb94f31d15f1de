#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "iolib/pipe/pipe_pool.h"
#include "proxy/admin/source.h"
#include "proxy/health/health_thread.h"
#include "proxy/run/machine.h"
#include "proxy/run/worker_thread.h"
#include "proxy/takeover/totals.h"
#include "proxy/taps/capture.h"

namespace sluice {

/// What the admin thread may know of the daemon. The control thread says how far the daemon is;
/// from ready on, the rest stays as it is until the admin thread has ended.
class DaemonSource final : public admin::AdminSource {
 public:
  /// Borrows all of them. `health` is set before the daemon is ready.
  DaemonSource(const Machine& machine, const PipePool& pool, std::uint64_t pipe_slots_limit,
               const Workers& workers, const CaptureDirectories& captures,
               const std::unique_ptr<HealthThread>& health)
      : machine_(machine),
        pool_(pool),
        pipe_slots_limit_(pipe_slots_limit),
        workers_(workers),
        captures_(captures),
        health_(health) {}

  /// Control thread.
  void enter(admin::RunState state) { state_.store(state, std::memory_order_release); }

  /// The configuration that holds from now on; first, that of the start. Control thread.
  void set_config(std::shared_ptr<const Config> config);
  /// A reload that was no dry run has ended. Control thread.
  void reloaded(const admin::ReloadResult& result);
  /// Any thread.
  void set_predecessors(std::vector<admin::Predecessor> predecessors);
  /// What this process alone has counted, apart from routes; empty while it starts. Any thread.
  [[nodiscard]] takeover::Totals own_totals() const;
  /// What processes have counted that this one has replaced; it is added to the figures. Any
  /// thread.
  void inherit(const takeover::Totals& totals);
  /// The most connections at once. Control thread.
  void set_connections_limit(std::uint64_t connections) { connections_limit_ = connections; }
  /// All routes, at the start and after a reload. Control thread.
  void set_routes(const std::vector<Route>& routes);
  /// A route has other servers or mirrors. Control thread.
  void update_route(const Route& route);

  // Any thread.
  [[nodiscard]] admin::RunState state() const override {
    return state_.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::shared_ptr<const Config> config() const override;
  [[nodiscard]] admin::Reloads reloads() const override;
  [[nodiscard]] std::vector<admin::Predecessor> predecessors() const override;
  [[nodiscard]] std::optional<admin::Figures> figures() const override;
  [[nodiscard]] admin::Routes routes() const override;
  [[nodiscard]] std::vector<admin::CaptureFigures> captures() const override;
  [[nodiscard]] std::vector<admin::MirrorFigures> mirrors() const override;
  void get_checks(std::function<void(admin::Checks)> take) const override;
  void list_connections(SessionQuery query,
                        std::function<void(const SessionPage&)> done) const override;
  void kill_connection(std::string id, std::function<void(bool)> done) const override;

 private:
  [[nodiscard]] takeover::Totals inherited() const;

  const Machine& machine_;
  const PipePool& pool_;
  const std::uint64_t pipe_slots_limit_;
  const Workers& workers_;
  const CaptureDirectories& captures_;
  const std::unique_ptr<HealthThread>& health_;
  std::atomic<std::uint64_t> connections_limit_{machine_.connections};
  std::atomic<admin::RunState> state_{admin::RunState::starting};
  mutable std::mutex mutex_;  ///< guards the rest
  std::shared_ptr<const Config> config_;
  admin::Reloads reloads_{.last = {}, .succeeded = std::chrono::system_clock::now()};
  std::vector<admin::Predecessor> predecessors_;
  takeover::Totals inherited_;
  admin::Routes routes_;
};

}  // namespace sluice
