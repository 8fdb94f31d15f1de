#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "iolib/base/owned_fd.h"

namespace sluice::bench {

/// The serving end. Accepts connections, does on each what its Hello asks for, and reports the
/// counts over the run's control connection (protocol.h). It has its own threads, and serves up to
/// kMaxRuns runs at a time, each with its own loops.
class Server {
 public:
  static constexpr std::size_t kMaxRuns = 16;

  /// Serves the connections that arrive at `listeners`, non-blocking listening sockets. A run's
  /// connections can arrive at any of them. Throws Failure.
  explicit Server(std::vector<OwnedFd> listeners);
  /// Ends all runs and joins all threads.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Why the server stopped accepting; empty while it accepts. Any thread.
  [[nodiscard]] std::string failure() const;
  /// For each listener, the connections so far that have sent a Hello. Any thread.
  [[nodiscard]] std::vector<std::uint64_t> connections() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice::bench
