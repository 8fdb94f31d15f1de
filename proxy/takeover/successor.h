#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/json/json.h"
#include "proxy/takeover/handover.h"
#include "proxy/takeover/link.h"

namespace sluice::takeover {

struct SuccessorTimes {
  /// How long a new process accepts and answers before the old one lets go.
  Duration life = std::chrono::seconds(3);
  /// How long the old one may then be silent before the log says so.
  Duration silence = std::chrono::seconds(10);
};

/// A process that takes over from another, in steps: ask(), await_go() once it could accept,
/// settle() once it does. Until it has settled the other may go on instead. The first two block
/// their caller; the rest runs on a thread.
class Successor {
 public:
  /// On the thread; `lost` also in settle(), if there is no thread.
  struct Hooks {
    /// Whether all threads that serve clients answer, within a bounded time.
    std::function<bool()> answers;
    /// The other process has let go, or has ended. `released`: what it said last. The link is open
    /// if it goes on reporting.
    std::function<void(json::object released, Link link)> settled;
    /// The other process accepts again: this one must end.
    std::function<void(const Error& why)> lost;
  };

  Successor() = default;
  explicit Successor(SuccessorTimes times) : times_(times) {}
  ~Successor() { end(); }
  Successor(const Successor&) = delete;
  Successor& operator=(const Successor&) = delete;

  /// Asks the process that listens at `path`, and receives everything. An error if nobody is there,
  /// or it refuses.
  [[nodiscard]] Result<Handover> ask(const std::string& path);
  /// Whether it has asked, and is neither settled nor lost.
  [[nodiscard]] bool pending() const { return static_cast<bool>(link_); }
  /// Tells the other process that this one can accept, and waits until it accepts no more. Returns
  /// what `go` says; empty if it has died meanwhile, since then only this process has the sockets.
  /// `runs`: under which this process records.
  [[nodiscard]] Result<json::object> await_go(const std::vector<std::string>& runs);
  /// Tells the other process why this one cannot take over. No effect unless pending().
  void fail(const Error& why);
  /// This process accepts now: settles on a thread.
  void settle(Hooks hooks);
  /// This process is about to end: lets the other one go on, unless that has let go. On any thread.
  void give_up() { stop_.stop(); }
  /// The process at the other end, see open_process(). Once it has settled.
  [[nodiscard]] OwnedFd release_process() { return std::move(process_); }
  /// Ends the thread.
  void end();

 private:
  void run();
  void lose(const Error& why);
  [[nodiscard]] Result<json::object> live_and_confirm();
  [[nodiscard]] Result<json::object> await_released();
  [[nodiscard]] bool other_has_died(const Error& error) const;

  SuccessorTimes times_;
  Hooks hooks_;
  StopSignal stop_;
  Link link_;
  OwnedFd process_;  ///< the other one
  std::thread thread_;
};

/// Tells the process at `path` that the one that it has started cannot take over. Best effort.
void report_failure(const std::string& path, const std::string& reason);

}  // namespace sluice::takeover
