#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/reactor/reactor.h"
#include "proxy/listen/listen_sockets.h"
#include "proxy/serve/session.h"
#include "proxy/serve/shared.h"
#include "proxy/serve/worker.h"
#include "proxy/upstream/route.h"

namespace sluice {

class FileRing;

/// The options of one worker.
struct WorkerOptions {
  std::size_t index = 0;
  bool uring = true;
  Duration busy_poll = Duration::zero();  ///< see Reactor::set_busy_poll()
  int cpu = -1;                           ///< the CPU to pin the thread to; -1: no pinning
  std::vector<Route> routes;
};

/// The control thread's side of a worker. Owns the worker, its thread and its reactor, and posts
/// requests to them. Only the control thread uses it.
class WorkerThread {
 public:
  WorkerThread(Shared& shared, WorkerOptions options);
  ~WorkerThread() { join(); }
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  // Call these in this order, each for all workers before the next. start() and set_up() return
  // once they are done, or with an error; then they leave nothing behind.

  /// Starts the thread with its reactor.
  [[nodiscard]] Result<> start();
  /// Creates the worker on its thread, with recorders for `captures`.
  [[nodiscard]] Result<> set_up(const CapturePlan& captures = {});
  /// Starts these recorders.
  void start_capture(const CapturePlan& captures);
  /// Gives the worker its listening sockets; it begins to accept.
  void accept_from(std::vector<ListenSocket> sockets);
  /// See Admission. `done` is called on the worker's thread, once that holds.
  void hold_accepting(std::function<void()> done);
  void release_accepting(std::function<void()> done);
  void copy_sockets(std::function<void(Result<std::vector<OwnedFd>>)> done);
  /// Stops accepting. Sessions go on until they end; then Shared::on_drained is called.
  void drain();
  /// Resets all sessions and mirrored streams.
  void stop_sessions(EndReason why);
  /// See Worker.
  void end_lost_sessions();
  /// Writes and seals all recorded bytes, then calls `done` on the worker's thread. No connection
  /// may be left.
  void close_capture(std::function<void()> done);
  /// Ends a pending close_capture(): bytes that are not written yet are lost.
  void give_up_capture();
  /// Stops the reactor, even with work pending, and joins the thread.
  void join();

  /// Calls `done` on the worker's thread, in a turn after the one that it is in.
  void after_turn(std::function<void()> done);
  /// Sends new connections of this route to its current addresses.
  void update_route(const Route& route);
  // See Worker. `done` is called on the worker's thread.

  void prepare_taps(std::shared_ptr<const CapturePlan> captures,
                    std::function<void(Result<>)> done);
  void undo_taps();
  void prepare_change(std::shared_ptr<const WorkerChange> change, std::function<void()> done);
  void change(std::shared_ptr<const WorkerChange> change, std::vector<ListenSocket> added,
              std::function<void()> done);
  void end_change();
  /// Valid after set_up().
  [[nodiscard]] Worker& worker() { return *worker_; }

 private:
  [[nodiscard]] Result<> open_reactor();
  [[nodiscard]] Result<> make_worker(const CapturePlan& captures);
  void pin() const;

  Shared& shared_;
  WorkerOptions options_;
  std::unique_ptr<Reactor> reactor_;
  FileRing* ring_ = nullptr;  ///< reactor_ if it is a UringReactor, otherwise null
  std::unique_ptr<Worker> worker_;
  std::thread thread_;
};

using Workers = std::vector<std::unique_ptr<WorkerThread>>;

/// The sum over all workers of one of their counts. Any thread, once they are set up.
[[nodiscard]] std::uint64_t sum_of(const Workers& workers, Tally WorkerStats::*count);

}  // namespace sluice
