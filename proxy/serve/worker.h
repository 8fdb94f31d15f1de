#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/pipe/pipe_pool.h"
#include "iolib/reactor/reactor.h"
#include "iolib/relay/relay.h"
#include "proxy/listen/admission.h"
#include "proxy/log/stats.h"
#include "proxy/serve/session.h"
#include "proxy/serve/shared.h"
#include "proxy/taps/capture.h"
#include "proxy/taps/mirrors.h"
#include "proxy/upstream/route.h"

namespace sluice {

class FileRing;

/// A worker as its own thread sees it: its sessions, and what they use. Belongs to that thread,
/// whose reactor it borrows; the control thread has a WorkerThread.
class Worker final : private Timer {
 public:
  Worker(Shared& shared, Reactor& reactor, std::size_t index, std::vector<Route> routes);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // What the control thread wants.

  /// Makes the recorders, if anything is recorded; `ring`: the reactor, if it is one. Leaves
  /// nothing behind where that fails.
  [[nodiscard]] Result<> open_capture(FileRing* ring);
  /// Ends every session, now and later, and what is mirrored, with a reset. After drain().
  void stop_sessions(EndReason why);
  /// New connections to this route go to these addresses.
  void update_route(const Route& route);

  // Its parts. Those that are const are for any thread, to count.

  [[nodiscard]] Reactor& reactor() { return reactor_; }
  [[nodiscard]] RelayContext& relay_context() { return relay_context_; }
  [[nodiscard]] Admission& admission() { return admission_; }
  [[nodiscard]] WorkerRoutes& routes() { return routes_; }
  [[nodiscard]] Stats& stats() { return stats_; }
  [[nodiscard]] const Stats& stats() const { return stats_; }
  [[nodiscard]] WorkerMirrors& mirrors() { return mirrors_; }
  [[nodiscard]] const WorkerMirrors& mirrors() const { return mirrors_; }
  /// Null if nothing is recorded.
  [[nodiscard]] WorkerCapture* capture() { return capture_.get(); }
  [[nodiscard]] const WorkerCapture* capture() const { return capture_.get(); }

  // For sessions.

  /// Of a route that sends a file.
  [[nodiscard]] FileThread& files(const Route& route) { return *shared_.files[route.index]; }
  /// Where connections of this route are recorded; null if they are not.
  [[nodiscard]] capture::Recorder* recorder(const RouteConfig& route) {
    return route.capture.empty() ? nullptr : capture_->recorder(route.capture);
  }
  void upstream_failed(const Route& route, const Error& error);

  void session_began(Session& session);
  void session_ended(Session& session);
  /// A session goes on with another worker: it leaves this one, goes to the other's thread by
  /// `co_await arrival()`, and has arrived there.
  void session_leaves(Session& session);
  void session_arrived(Session& session);
  class Arrival;
  [[nodiscard]] Arrival arrival();
  [[nodiscard]] Worker& worker(std::size_t index) { return *shared_.workers[index]; }
  /// Unique in this run of the program: the worker's index above its own count. By it
  /// clients without an address are mirrored or not: the man page says how.
  [[nodiscard]] std::uint64_t next_session_number() {
    return (std::uint64_t{index_} << kCountBits) | ++session_numbers_;
  }
  [[nodiscard]] std::string session_id(std::uint64_t number) const;

 private:
  static constexpr unsigned kCountBits = 48;

  void expired() override;
  void admitted(Accepted client);
  void begin(Accepted client);
  void note_shortage(PipeShortage shortage);
  void check_drained();

  Shared& shared_;
  Reactor& reactor_;
  const std::size_t index_;
  Stats stats_;
  std::unique_ptr<WorkerCapture> capture_;
  WorkerMirrors mirrors_;
  RelayContext relay_context_;
  WorkerRoutes routes_;
  Admission admission_;
  SessionList sessions_;
  std::uint64_t session_numbers_ = 0;
  std::optional<EndReason> stopping_;
};

/// See Worker::arrival.
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
