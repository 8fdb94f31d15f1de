#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "proxy/takeover/link.h"
#include "proxy/takeover/predecessor.h"

namespace sluice::takeover {

/// The variable of the environment that tells a successor at which socket to ask. Its own file may
/// name another one.
inline constexpr const char* kSocketVariable = "SLUICE_TAKEOVER_SOCKET";

/// The path of the installed program, for a later start. It keeps the symbolic links of
/// `started_as` (argv[0]), which can lead to another version by then. Call it while that still
/// leads to this program.
[[nodiscard]] std::string own_program(const std::string& started_as);

/// Starts a successor, and says what has become of it.
class Launcher {
 public:
  /// `reason`: why the successor has not taken over; empty: it has.
  using Done = std::function<void(pid_t pid, const std::string& reason)>;

  /// `program`: the path of this program as it was at the start, which names the installed one even
  /// after it was replaced. `arguments`: the command line of this process. `patience`: how long a
  /// successor may take, before it counts as failed.
  Launcher(std::string program, std::vector<std::string> arguments,
           Duration patience = kTakeoverTime + std::chrono::seconds(5));
  ~Launcher() { end(); }
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // Any thread.

  /// Starts the program with the same arguments and --takeover; it asks at `socket`. `done` is
  /// called once, on any thread.
  void launch(const std::string& socket, const Done& done);
  /// A process has taken over (`reason` is empty), or could not. No effect unless it is the one
  /// started last.
  void tell(pid_t pid, const std::string& reason);
  /// Waits for the process no longer; it goes on. `done` is dropped.
  void end();

 private:
  [[nodiscard]] Result<pid_t> start(const std::string& socket) const;
  void await_exit(pid_t pid);

  const std::string program_;
  std::vector<std::string> arguments_;
  const Duration patience_;
  StopSignal stop_;
  std::mutex mutex_;  ///< guards the next two
  pid_t pid_ = 0;     ///< the process started last
  Done done_;         ///< empty: nobody waits
  std::thread thread_;
};

}  // namespace sluice::takeover
