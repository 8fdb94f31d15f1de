#pragma once

#include <memory>
#include <string>

#include "iolib/base/owned_fd.h"

namespace sluice::bench {

/// The serving end. Accepts connections, does on each what its Hello asks for, and reports the
/// counts over the run's control connection (protocol.h). It has its own threads, and serves up to
/// kMaxRuns runs at a time, each with its own loops.
class Server {
 public:
  static constexpr std::size_t kMaxRuns = 16;

  /// Serves the connections that arrive at `listener`, a non-blocking listening socket. Throws
  /// Failure.
  explicit Server(OwnedFd listener);
  /// Ends all runs and joins all threads.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Why the server stopped accepting; empty while it accepts. Any thread.
  [[nodiscard]] std::string failure() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice::bench
