#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/pipe/pipe_pool.h"
#include "iolib/reactor/calling.h"
#include "iolib/reactor/reactor.h"
#include "iolib/relay/relay.h"
#include "proxy/listen/admission.h"
#include "proxy/log/stats.h"
#include "proxy/serve/session.h"
#include "proxy/serve/session_walk.h"
#include "proxy/serve/shared.h"
#include "proxy/taps/capture.h"
#include "proxy/taps/mirrors.h"
#include "proxy/upstream/route.h"

namespace sluice {

class FileRing;

/// What a reload changes in the workers. All of them read the same one.
struct WorkerChange {
  CapturePlan captures;           ///< that prepare_taps() has prepared
  std::vector<Route> all_routes;  ///< for commit_taps()
  RouteChange routes;
  ListenChange listeners;
};

/// A worker as its own thread sees it: its sessions and what they use. Belongs to that thread,
/// whose reactor it borrows. The control thread uses WorkerThread.
class Worker final : private Timer {
 public:
  /// `ring` is the reactor if it is a UringReactor, otherwise null.
  Worker(Shared& shared, Reactor& reactor, std::size_t index, std::vector<Route> routes,
         FileRing* ring = nullptr);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // For the control thread.

  /// Makes the recorders that `plan` needs, but no files. Then comes commit_taps(), or undo_taps(),
  /// which also comes after an error.
  [[nodiscard]] Result<> prepare_taps(const CapturePlan& plan);
  void undo_taps() { capture_.undo(); }
  /// From now on, connections are recorded as `plan` and mirrored as `routes` say. Taps of others
  /// go once nothing needs them any more. In the same turn comes the new table of routes.
  void commit_taps(const CapturePlan& plan, const std::vector<Route>& routes);
  /// Ends every session, present and future, and all mirroring, with a reset. Call it after
  /// drain().
  void stop_sessions(EndReason why);
  /// Ends the sessions that have lost their server, some in each turn from this one on.
  void end_lost_sessions() { reactor_.defer(ending_lost_); }
  /// Calls `done` with the first connections that the query asks for, some turns later.
  void list_sessions(SessionQuery query, std::function<void(SessionPage)> done);
  /// Ends the session with this number. Calls `done` with whether it was here, some turns later.
  void kill_session(std::uint64_t number, const std::function<void(bool)>& done);
  /// New connections of this route use its new addresses.
  void update_route(const Route& route);
  // A reload takes three steps. Each follows once all workers have done the one before.

  /// Closes the listeners that go, and sends no more clients to other workers. Calls `done` once
  /// they are closed, some turns later at most.
  void prepare_change(const WorkerChange& change, std::function<void()> done);
  /// New connections use these routes and taps, and are accepted by these listeners.
  void change(const WorkerChange& change, std::vector<ListenSocket> added);
  /// All workers have the new routes.
  void end_change();

  // The worker's parts. Any thread may use the const ones, to count.

  [[nodiscard]] Reactor& reactor() { return reactor_; }
  [[nodiscard]] RelayContext& relay_context() { return relay_context_; }
  [[nodiscard]] Admission& admission() { return admission_; }
  [[nodiscard]] WorkerRoutes& routes() { return routes_; }
  [[nodiscard]] const WorkerStats& stats() const { return stats_; }
  [[nodiscard]] WorkerMirrors& mirrors() { return mirrors_; }
  [[nodiscard]] const WorkerMirrors& mirrors() const { return mirrors_; }
  [[nodiscard]] WorkerCapture& capture() { return capture_; }
  [[nodiscard]] const WorkerCapture& capture() const { return capture_; }

  // For sessions.

  /// Whether connections of this route that begin now are recorded.
  [[nodiscard]] static bool records(const Route& route) {
    return !route.config.capture.empty() && route.stats->capture_enabled;
  }
  /// The recorder of a route that records; null if it is gone, since no current route names its
  /// directory.
  [[nodiscard]] capture::Recorder* recorder(const Route& route) {
    return capture_.recorder(route.config.capture);
  }
  /// Where this worker counts what happens to connections of the route.
  [[nodiscard]] RouteCounts& counts(const Route& route) { return route.stats->counts[index_]; }
  [[nodiscard]] Traffic& traffic(const Route& route) { return route.stats->traffic[index_]; }
  [[nodiscard]] ServerChanges& server_changes() { return shared_.server_changes; }
  /// `server`: the one that could not be connected to; null if there is none.
  void upstream_failed(const Route& route, const Server* server, const Error& error);

  /// Reports that a client was turned away. Returns whether that gets a line of its own; otherwise
  /// it is in the count of a line within a second.
  [[nodiscard]] bool logs_rejection(const RouteSnapshot& route, EndReason why);

  void session_began(Session& session);
  void session_ended(Session& session);
  /// To move a session to another worker: call session_leaves() here, then `co_await` the other
  /// worker's arrival(), then call session_arrived() there.
  void session_leaves(Session& session);
  void session_arrived(Session& session);
  /// A session of this worker is recorded or mirrored from now on, or no longer.
  void session_tapped(bool tapped) {
    tapped ? shared_.placement.arrived(index_) : shared_.placement.left(index_);
  }
  /// A session of this worker, whose route is `of_session`, takes another one.
  void change_route(RouteSnapshot& of_session, RouteSnapshot route);
  class Arrival;
  [[nodiscard]] Arrival arrival();
  [[nodiscard]] Worker& worker(std::size_t index) { return *shared_.workers[index]; }
  /// The number of a new session, unique in this run of the program: the worker's index above the
  /// worker's own count. For clients without an address, it decides whether they are mirrored; see
  /// the man page.
  [[nodiscard]] std::uint64_t next_session_number() {
    return (std::uint64_t{index_} << kCountBits) | ++session_numbers_;
  }
  [[nodiscard]] std::string session_id(std::uint64_t number) const;
  /// The reverse; nullopt if no session of this run can have this id. Any thread.
  [[nodiscard]] std::optional<std::uint64_t> session_number(std::string_view id) const;

 private:
  static constexpr unsigned kCountBits = 48;

  void expired() override;
  void admitted(Accepted client);
  void begin_placed(Accepted client);
  void begin(Accepted client);
  void note_shortage(PipeShortage shortage);
  void check_drained();
  void end_some_lost_sessions();
  void look_for_sessions_to_record(const std::string& path, std::function<void(bool)> answer);
  void log_rejections();

  Shared& shared_;
  Reactor& reactor_;
  FileRing* const ring_;
  const std::size_t index_;
  WorkerStats stats_;
  WorkerCapture capture_;
  WorkerMirrors mirrors_;
  RelayContext relay_context_;
  WorkerRoutes routes_;
  bool places_clients_ = true;  ///< false while workers can have different routes
  Admission admission_;
  SessionList sessions_;  ///< the oldest first
  SessionWalks walks_{reactor_, sessions_};
  CallingDeferral<&Worker::end_some_lost_sessions> ending_lost_{*this};
  std::vector<RouteSnapshot> rejecting_;  ///< that have turned clients away without a line
  CallingTimer<&Worker::log_rejections> rejections_{*this};
  std::uint64_t session_numbers_ = 0;
  std::optional<EndReason> stopping_;
};

/// See Worker::arrival().
class Worker::Arrival {
 public:
  explicit Arrival(Reactor& reactor) : reactor_(reactor) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> session) {
    reactor_.post([session] { session.resume(); });
  }
  void await_resume() const noexcept {}

 private:
  Reactor& reactor_;
};
inline Worker::Arrival Worker::arrival() { return Arrival(reactor_); }

}  // namespace sluice
