#pragma once

#include <memory>
#include <string>

#include "iolib/base/owned_fd.h"

namespace sluice::bench {

/// The serving end: takes connections, does on each what its Hello says, and reports over the run's
/// control connection what passed (protocol.h). Threads of its own; several runs at a time, at most
/// kMaxRuns, each with its own loops.
class Server {
 public:
  static constexpr std::size_t kMaxRuns = 16;

  /// Serves what comes to `listener`, a non-blocking listening socket. Throws Failure.
  explicit Server(OwnedFd listener);
  /// Ends all runs and joins.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// What made it give up accepting, or nothing.
  [[nodiscard]] std::string failure() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice::bench
