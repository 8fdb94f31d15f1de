#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "proxy/admin/admin_thread.h"
#include "proxy/config/config.h"
#include "proxy/listen/inherited.h"
#include "proxy/listen/listen_sockets.h"
#include "proxy/run/admin_source.h"
#include "proxy/run/asker.h"
#include "proxy/run/control.h"
#include "proxy/run/running_totals.h"
#include "proxy/run/worker_thread.h"
#include "proxy/takeover/launcher.h"
#include "proxy/takeover/predecessor.h"
#include "proxy/takeover/predecessors.h"
#include "proxy/takeover/successor.h"
#include "proxy/taps/capture_directories.h"

namespace sluice {

/// The daemon's part in takeovers: first it may be a successor, then another process may take over
/// from it. The control thread calls everything here, unless it says otherwise.
class Takeovers {
 public:
  /// What the daemon does. Control thread.
  struct Actions {
    /// This process has taken over.
    std::function<void()> begin;
    /// Another process is the service. Can be called twice.
    std::function<void(pid_t successor)> leave;
    /// Another process accepts: drain, without touching its paths.
    std::function<void()> drain;
    /// Another process accepts again: end with status 1.
    std::function<void()> give_up;
  };
  /// Borrows all but the last two. `arguments`: the command line.
  Takeovers(const Config& config, Control& control, const Workers& workers,
            admin::AdminThread& admin, ListenSockets& listeners, DaemonSource& source,
            CaptureDirectories& captures, std::vector<std::string> arguments, Actions actions);

  // As a successor, during the start. These block.

  /// Gets the sockets of the running process.
  [[nodiscard]] Result<> ask(InheritedSockets& inherited);
  /// Applies what the running process knew of servers, and what operators had switched, to the
  /// routes of the start.
  void restore(std::span<const Route> routes);
  /// Whether this is a successor that has not settled yet.
  [[nodiscard]] bool pending() const { return successor_.pending(); }
  /// Everything is prepared: waits until the running process accepts no more.
  [[nodiscard]] Result<> await_go();
  /// The start has failed.
  void fail(const Error& error) { successor_.fail(error); }

  // As a predecessor.

  /// Opens the takeover socket, if one is configured.
  [[nodiscard]] Result<> open(InheritedSockets& inherited);
  /// Listens there, unless pending(): then settle() does.
  [[nodiscard]] Result<> listen();
  /// The daemon accepts, and the control thread runs.
  void settle();
  /// The daemon is about to end: nobody must let go for it. If a successor accepts already, that is
  /// the service now.
  void before_end();
  /// The daemon drains for another reason. If a successor may accept already, it has the paths.
  void before_drain();
  /// Removes the path of the takeover socket. Any thread.
  void remove_unix_paths();
  /// Starts the installed program, which then takes over. `done` is called once, on any thread.
  void launch(std::function<void(admin::TakeoverResult)> done);
  /// Opens the log anew, here and in the processes that this one has replaced: who rotates the logs
  /// does not know them.
  void reopen_logs();
  /// Before the daemon's parts end.
  void end();

 private:
  [[nodiscard]] Result<> listen_for_successors();
  void forget_paths();
  [[nodiscard]] std::vector<SocketPath> own_paths() const;
  [[nodiscard]] bool answers();
  void settled(const json::object& released, takeover::Link link);
  void inherit();
  [[nodiscard]] takeover::Totals own_totals();
  [[nodiscard]] json::object report(const takeover::Totals& totals) const;
  [[nodiscard]] json::object report_changes();
  void lost(const Error& why);
  [[nodiscard]] std::string refusal();
  [[nodiscard]] Result<takeover::Handover> hand_over();
  [[nodiscard]] Result<json::object> hold(pid_t successor);
  void release(pid_t successor, const std::string& reason);
  void leave(pid_t successor);
  [[nodiscard]] json::object let_go(pid_t successor);

  const Config& config_;
  Control& control_;
  const Workers& workers_;
  admin::AdminThread& admin_;
  ListenSockets& listeners_;
  const Actions actions_;
  std::atomic<pid_t> held_by_{0};         ///< the successor that may accept; 0: none
  std::vector<SocketPath> handed_paths_;  ///< of the running process, until it lets go
  ListenSockets sockets_;                 ///< the takeover socket
  DaemonSource& source_;
  CaptureDirectories& captures_;
  RunningTotals totals_{source_};
  std::mutex totals_mutex_;    ///< guards totals_
  json::object runtime_;       ///< of the running process
  takeover::Living other_;     ///< the running process
  bool settling_ = false;      ///< it has not let go yet; control thread
  takeover::Totals reported_;  ///< to the successor; on the takeover thread
  takeover::Predecessors predecessors_;
  takeover::Launcher launcher_;
  takeover::Successor successor_;
  takeover::Predecessor predecessor_;
  const Asker ask_{control_, workers_, predecessor_.stop()};  ///< by the other threads
};

}  // namespace sluice
