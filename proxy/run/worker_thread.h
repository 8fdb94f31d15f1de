#pragma once

#include <cstddef>
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

class UringReactor;

/// How one worker is set up.
struct WorkerOptions {
  std::size_t index = 0;
  bool uring = true;
  int cpu = -1;  ///< to be pinned to; -1: none
  std::vector<Route> routes;
};

/// A worker as the control thread sees it: its thread and reactor, and what it is told.
class WorkerThread {
 public:
  WorkerThread(Shared& shared, WorkerOptions options);
  ~WorkerThread() { join(); }
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  // In this order, each for all workers before the next. The first two return when they are done,
  // or why that cannot be, and leave nothing behind.

  /// Starts the thread with its reactor.
  [[nodiscard]] Result<> start();
  /// Makes the worker.
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
  /// Ends the thread, whatever it is doing.
  void join();

  /// New connections to this route go to these addresses.
  void update_route(const Route& route);
  /// After set_up().
  [[nodiscard]] Worker& worker() { return *worker_; }

 private:
  [[nodiscard]] Result<> open_reactor();
  [[nodiscard]] Result<> make_worker();
  void pin() const;

  Shared& shared_;
  WorkerOptions options_;
  std::unique_ptr<Reactor> reactor_;
  UringReactor* uring_ = nullptr;  ///< reactor_, if it is one
  std::unique_ptr<Worker> worker_;
  std::thread thread_;
};

}  // namespace sluice
