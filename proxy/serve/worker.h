#pragma once

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/pipe/pipe_pool.h"
#include "iolib/reactor/reactor.h"
#include "iolib/relay/relay.h"
#include "proxy/log/repeated.h"
#include "proxy/serve/file_thread.h"
#include "proxy/serve/listener.h"
#include "proxy/serve/session.h"
#include "proxy/serve/stats.h"
#include "proxy/taps/capture.h"
#include "proxy/taps/mirrors.h"
#include "proxy/upstream/route.h"

namespace sluice {

class UringReactor;
class Worker;

/// What all workers share: the pool, the count of connections, and what only the control thread
/// does.
struct Shared {
  explicit Shared(PipePool& its_pool) : pool(its_pool) {}

  PipePool& pool;
  /// By route, null where it sends no file: a mount that hangs stops only the routes on it.
  std::vector<std::unique_ptr<FileThread>> files = {};
  const CaptureDirectories* captures = nullptr;  ///< null or empty: nothing is recorded
  std::uint64_t max_connections = 0;
  /// Descriptors are so few that a burst of clients could take those of the upstreams.
  bool accepts_one_by_one = false;
  std::string id_prefix;  ///< of connection ids: unique to this run of the program
  /// An upstream's addresses all failed: they may be outdated. Any thread.
  std::function<void(std::size_t route)> on_upstream_failed;
  /// A mirror's addresses all failed. Any thread.
  std::function<void(const std::string& address)> on_mirror_failed;
  /// All workers were told to drain, and no connection is left. Any thread.
  std::function<void()> on_drained;
  std::vector<Worker*> workers = {};
  std::uint64_t mirror_buffers_bytes = 0;  ///< of each worker
  std::uint64_t mirror_descriptors = 0;    ///< likewise
  MirrorShedding mirror_shedding = {};
  std::atomic<std::uint64_t> mirror_streams{0};  ///< of all workers, at this moment
  std::atomic<std::size_t> workers_closed{0};    ///< that accept no more
  Repeated pipe_shortages = {};
  Repeated accept_pauses = {};                  ///< for want of descriptors or memory
  std::deque<Repeated> upstream_failures = {};  ///< by route
  Repeated full = {};  ///< clients that wait for a place within max_connections
  alignas(64) std::atomic<std::uint64_t> connections{0};
};

/// How one worker is set up.
struct WorkerOptions {
  std::size_t index = 0;
  bool uring = true;
  int cpu = -1;  ///< to be pinned to; -1: none
  std::vector<Route> routes;
};

/// One thread with a reactor, listeners and sessions of its own.
class Worker : private Deferral {
 public:
  Worker(Shared& shared, WorkerOptions options);
  ~Worker() override;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The control thread's side.

  // In this order, each for all workers before the next. The first two return when they are done,
  // or why that cannot be, and leave nothing behind.

  /// Starts the thread with its reactor.
  [[nodiscard]] Result<> start();
  /// Makes what else it needs.
  [[nodiscard]] Result<> set_up();
  void start_capture();
  /// Accepts from now on.
  void accept_from(std::vector<ListenSocket> sockets);
  /// Stops accepting, lets sessions end, and says so by Shared::on_drained.
  void drain();
  /// Ends every session, and what is mirrored, with a reset.
  void stop_sessions(SessionEnd why);
  /// Writes and seals what was recorded, then calls `done`, on the worker's thread. No connection
  /// is left.
  void close_capture(std::function<void()> done);
  /// What close_capture() has not written by now is lost.
  void give_up_capture();
  /// Null if nothing is recorded.
  [[nodiscard]] const WorkerCapture* capture() const { return capture_.get(); }
  [[nodiscard]] const WorkerMirrors& mirrors() const { return *mirrors_; }
  /// Ends the thread, whatever it is doing.
  void join();
  /// New connections to this route go to these addresses.
  void update_route(const Route& route);
  [[nodiscard]] const Stats& stats() const { return stats_; }

  // The worker's own side: its listeners and sessions.

  [[nodiscard]] Reactor& reactor() { return *reactor_; }
  [[nodiscard]] RelayContext& relay_context() { return *relay_context_; }
  [[nodiscard]] Stats& stats() { return stats_; }
  /// Of a route that sends a file.
  [[nodiscard]] FileThread& files(const Route& route) { return *shared_.files[route.index]; }
  /// Where connections of this route are recorded; null if they are not.
  [[nodiscard]] capture::Recorder* recorder(const RouteConfig& route) {
    return route.capture.empty() ? nullptr : capture_->recorder(route.capture);
  }

  [[nodiscard]] WorkerMirrors& mirrors() { return *mirrors_; }

  /// A listener accepted `client`: admits it, or lets it wait for a place.
  void accepted(OwnedFd client, std::size_t route, Leg::Kind kind);
  void accept_failed(int error);
  /// A session of this worker waits for a descriptor, for want of which `error` came: the worker
  /// accepts nobody until descriptor_had() has been called as often.
  void descriptor_wanted(int error);
  /// Closes half of the pipes that nobody has needed since the last call.
  void free_pipes() { shared_.pool.trim(); }
  void descriptor_had() { --descriptors_wanted_; }
  void listener_closed() { check_drained(); }

  void session_began(Session& session);
  void session_ended(Session& session);
  /// A session goes on with another worker: it leaves this one, goes to the other's thread by
  /// `co_await arrival()`, and begins there.
  void session_leaves(Session& session);
  class Arrival;
  [[nodiscard]] Arrival arrival();
  [[nodiscard]] Worker& worker(int index) {
    return *shared_.workers[static_cast<std::size_t>(index)];
  }
  /// Unique in this run of the program: the worker's index above its own count. By it
  /// clients without an address are mirrored or not: the man page says how.
  [[nodiscard]] std::uint64_t next_session_number() {
    return (std::uint64_t{options_.index} << kCountBits) | ++session_numbers_;
  }
  [[nodiscard]] std::string session_id(std::uint64_t number) const;

  [[nodiscard]] std::size_t preferred_upstream(const Route& route) const;
  void prefer_upstream(const Route& route, std::size_t upstream);
  void upstream_failed(const Route& route, const Error& error);

 private:
  static constexpr unsigned kCountBits = 48;
  struct Waiting {
    OwnedFd client;
    std::size_t route;
    Leg::Kind kind;
  };
  // What a timer of the worker does when it expires.
  class Chore final : public Timer {
   public:
    explicit Chore(std::function<void()> work) : work_(std::move(work)) {}

   private:
    void expired() override { work_(); }
    std::function<void()> work_;
  };

  [[nodiscard]] Result<> open_reactor();
  [[nodiscard]] Result<> open_capture();
  [[nodiscard]] Result<> make_sessions_possible();
  void pin() const;
  void adopt(OwnedFd client, std::size_t route, Leg::Kind kind);
  void begin(OwnedFd client, std::size_t route, Leg::Kind kind);
  [[nodiscard]] Worker& take_recorded();
  void open_mirrors();
  [[nodiscard]] bool admit();
  void serve_waiting();
  void pause_accepting();
  void resume_accepting();
  void deferred() override { resume_accepting(); }
  void note_full(std::uint64_t clients);
  void note_calm();
  void trim_pipes();
  void note_shortage(PipeShortage shortage);
  void check_drained();
  [[nodiscard]] int worker_with_fewer_streams() const;

  Shared& shared_;
  WorkerOptions options_;
  Stats stats_;
  std::unique_ptr<Reactor> reactor_;
  UringReactor* uring_ = nullptr;  ///< reactor_, if it is one
  std::unique_ptr<WorkerCapture> capture_;
  std::unique_ptr<WorkerMirrors> mirrors_;
  std::unique_ptr<RelayContext> relay_context_;
  std::vector<RouteSnapshot> routes_;
  std::vector<std::size_t> preferred_;  ///< by route: the address that connected last
  std::vector<std::unique_ptr<Listener>> listeners_;
  SessionList sessions_;
  std::uint64_t session_numbers_ = 0;
  /// Accepted beyond --max-connections: what one batch of the kernel's brought, at most a backlog.
  std::deque<Waiting> waiting_;
  Chore retry_accepting_{[this] { resume_accepting(); }};
  Chore trim_{[this] { trim_pipes(); }};
  std::uint32_t descriptors_wanted_ = 0;  ///< by sessions that wait for one
  bool accepting_ = true;
  bool draining_ = false;
  bool closed_ = false;  ///< drained, and counted in Shared::workers_closed
  std::optional<SessionEnd> stopping_;
  std::atomic<std::uint32_t> recorded_{0};  ///< sessions that are, here or on their way
  std::thread thread_;
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
inline Worker::Arrival Worker::arrival() { return Arrival(*reactor_); }

}  // namespace sluice
