#pragma once

#include <functional>
#include <thread>

namespace sluice {

/// Ends the program with status 0 if SIGTERM or SIGINT arrives during the start, whatever the start
/// waits for (a name server, a disk, a file).
///
/// A thread waits for the signals. A handler would not run before a blocking call lets it, and the
/// first process of a container (PID 1) ignores signals without a handler.
class StartWatch {
 public:
  /// Blocks these signals for this thread and its later threads. Throws std::system_error if no
  /// thread can start. `before_end` is called on the watching thread.
  explicit StartWatch(std::function<void()> before_end);
  ~StartWatch() { stop(); }
  StartWatch(const StartWatch&) = delete;
  StartWatch& operator=(const StartWatch&) = delete;

  /// Ends the watch. A later signal stays pending until a thread unblocks it.
  void stop();

 private:
  std::thread thread_;
};

}  // namespace sluice
