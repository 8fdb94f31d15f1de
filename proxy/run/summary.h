#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "iolib/pipe/pipe_pool.h"
#include "proxy/health/health_thread.h"
#include "proxy/listen/listen_sockets.h"
#include "proxy/log/ending.h"
#include "proxy/run/worker_thread.h"
#include "proxy/taps/capture.h"
#include "proxy/upstream/route.h"
#include "proxy/upstream/route_totals.h"

namespace sluice {

/// What was counted for several routes.
struct RouteSums {
  void add(const Route& route);

  RouteTotals totals;
  std::array<std::uint64_t, kEndGroupNames.size()> ended{};
};

/// Counts on for routes that a reload has removed.
class RemovedRoutes {
 public:
  void add(const Route& route);
  [[nodiscard]] RouteSums sums() const;

 private:
  std::vector<Route> ending_;  ///< they have connections
  RouteSums ended_;
};

/// Logs a line for each address at which routes of `config` are to be reached.
void report_bound(const Config& config, const ListenSockets& sockets);
/// Logs a line for each address of a name that this machine lacks.
void report_passed_over(const Config& config, const ListenSockets& sockets);

/// Logs the line `stats`: what was counted since the start. Once the workers are set up.
void print_summary(const std::vector<Route>& routes, const RemovedRoutes& removed,
                   const Workers& workers, const CaptureDirectories& directories,
                   const PipePool& pool);

/// Logs a line `limits` for each route that has limits or has turned away clients: what is used,
/// and how many were turned away by what.
void print_limits(const std::vector<Route>& routes);
/// Logs a line `server` for each server of the routes that have several, check or limit them, or
/// have orders about them. `health`: null if no route checks its servers. Waits for its thread.
void print_servers(const std::vector<Route>& routes, HealthThread* health);

}  // namespace sluice
