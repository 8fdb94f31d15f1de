#pragma once

#include <thread>

namespace sluice {

/// Ends the program, with status 0, when SIGTERM or SIGINT comes while it is being set up, whatever
/// that waits for: a name server, a disk, a file. On a thread of its own, since a handler has to
/// wait until the call that it interrupts lets it, and the first process of a container has none.
class StartWatch {
 public:
  /// Blocks these signals, for this thread and those to come. Throws where no thread can be had.
  StartWatch();
  ~StartWatch() { stop(); }
  StartWatch(const StartWatch&) = delete;
  StartWatch& operator=(const StartWatch&) = delete;

  /// From now on a signal stays pending until somebody unblocks it.
  void stop();

 private:
  std::thread thread_;
};

}  // namespace sluice
