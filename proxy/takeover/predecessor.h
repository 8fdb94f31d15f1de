#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/json/json.h"
#include "proxy/takeover/handover.h"
#include "proxy/takeover/link.h"

namespace sluice::takeover {

/// How long a takeover may last, from the question to `done`.
inline constexpr Duration kTakeoverTime = std::chrono::seconds(30);

/// Waits at the takeover socket for a process that wants to take over, on a thread of its own. One
/// takeover at a time; others are refused meanwhile. Until `done` the daemon can go on as before.
class Predecessor {
 public:
  /// All are called on the thread; they may wait for the control thread, for a bounded time.
  struct Hooks {
    /// Why nobody can take over at the moment; empty: somebody can.
    std::function<std::string()> refusal;
    std::function<Result<Handover>()> hand_over;
    /// Nothing is accepted from its return on. Returns what `go` says.
    std::function<Result<json::object>(pid_t successor)> hold;
    /// A process cannot take over, before anything was handed over.
    std::function<void(pid_t successor, const std::string& reason)> refused;
    /// Accepts again. `reason`: why the takeover has failed.
    std::function<void(pid_t successor, const std::string& reason)> release;
    /// The successor is about to be in charge.
    std::function<void(pid_t successor)> confirmed;
    /// The successor accepts, and is in charge, or this daemon ends. Returns what `released` says.
    std::function<json::object(pid_t successor)> let_go;
    /// A process has ended that could not take over, and may have begun to record.
    std::function<void(const std::vector<std::string>& runs)> ended;
    /// What `report` says.
    std::function<json::object()> report;
  };
  explicit Predecessor(Hooks hooks) : hooks_(std::move(hooks)) {}
  ~Predecessor() { end({}); }
  Predecessor(const Predecessor&) = delete;
  Predecessor& operator=(const Predecessor&) = delete;

  /// Starts the thread on a listening socket. An error if there is none: then the socket closes.
  [[nodiscard]] Result<> start(OwnedFd listener);
  /// Ends the thread and the takeover that it is in. A successor that has taken over gets this last
  /// report.
  void end(json::object last_report);
  /// A copy of the listening socket. On the thread.
  [[nodiscard]] OwnedFd copy_listener() const;
  /// end() was called: a hook that waits must return soon.
  [[nodiscard]] const StopSignal& stop() const { return stop_; }

 private:
  void run();
  void take_newcomer();
  void end_failed_ones();
  void refuse_newcomer();
  [[nodiscard]] Result<> wait(int fd, short events, TimePoint deadline);
  void talk(Link link, const Peer& peer);
  void refuse(Link& link, const Peer& peer, const std::string& reason);
  [[nodiscard]] Result<> offer(Link& link, TimePoint deadline);
  [[nodiscard]] Result<> give(Link& link, const Peer& peer, TimePoint deadline);
  void report_until_end(Link talk);

  Hooks hooks_;
  struct Failed {
    OwnedFd process;
    std::vector<std::string> runs;
  };
  StopSignal stop_;
  std::vector<Failed> failed_;     ///< processes that have not ended yet
  std::vector<std::string> runs_;  ///< of the successor that is ready
  OwnedFd listener_;
  TimePoint deaf_until_;  ///< no newcomer is looked at before, during a takeover
  json::object last_report_;
  std::thread thread_;
};

}  // namespace sluice::takeover
