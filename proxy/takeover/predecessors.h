#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "proxy/takeover/link.h"
#include "proxy/takeover/totals.h"

namespace sluice::takeover {

/// The most processes that still have connections at a time, besides the one that accepts.
inline constexpr std::size_t kMostPredecessors = 4;

/// A process that has let go, and what it last reported.
struct Living {
  std::int64_t pid = 0;
  std::uint64_t connections = 0;
  Totals totals;
  Totals held;                    ///< what it uses of what limits count
  std::vector<std::string> runs;  ///< under which it records
  OwnedFd link;                   ///< its reports; none if it has closed it
  OwnedFd process;                ///< see open_process()
};
/// What all have counted from which this process has taken over, directly or through others.
struct Ancestors {
  std::vector<Living> living;  ///< from the newest on
  Totals ended;                ///< of those that have ended
};

/// Reads what predecessors report, until they end, on a thread of its own.
class Predecessors {
 public:
  /// On the thread.
  struct Hooks {
    std::function<void()> reported;  ///< list(), totals() or held() has changed
    std::function<void(const std::vector<std::string>& runs)> ended;
  };
  explicit Predecessors(Hooks hooks) : hooks_(std::move(hooks)) {}
  ~Predecessors() { stop(); }
  Predecessors(const Predecessors&) = delete;
  Predecessors& operator=(const Predecessors&) = delete;

  // Any thread.

  [[nodiscard]] std::size_t count() const;
  /// From the newest on: its pid, and how many connections it has.
  [[nodiscard]] std::vector<std::pair<std::int64_t, std::uint64_t>> list() const;
  /// Sends all a signal. Best effort.
  void signal(int number) const;
  /// The sums over all, ended ones too.
  [[nodiscard]] Totals totals() const;
  /// The sums over those that live of what they use of what limits count.
  [[nodiscard]] Totals held() const;

  // One thread at a time.

  /// Before start().
  void add(Ancestors ancestors);
  void add_newest(Living predecessor);
  /// Starts the thread, if there is anything to read. If the system has no room for one, the log
  /// says so, and nothing is read until the next call.
  void start();
  /// Stops it, at the end of a report.
  void stop();
  /// Copies of everything, for a successor, which reads on; call stop() first. An error if there
  /// are no descriptors.
  [[nodiscard]] Result<Ancestors> hand_over() const;

 private:
  void run();
  [[nodiscard]] std::vector<pollfd> awaited() const;
  void take_report(Living& from);
  void end_those_that_ended();

  const Hooks hooks_;
  StopSignal stop_;
  mutable std::mutex mutex_;  ///< guards what the thread changes
  Ancestors ancestors_;
  std::thread thread_;
};

}  // namespace sluice::takeover
