#pragma once

#include <signal.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

/// A new database. When it ends, it removes its shared memory, too. All those of a process are
/// copies of one that initdb has made.
class Postgres {
 public:
  /// Neither initdb nor postgres runs as root, so `options` has another user then; see owner().
  /// Throws if the server does not start.
  /// `more` are arguments of postgres.
  Postgres(const TempDir& folder, const ProcessOptions& options,
           const std::vector<std::string>& more = {});
  ~Postgres();
  Postgres(const Postgres&) = delete;
  Postgres& operator=(const Postgres&) = delete;

  /// A hot standby that follows this server, with its data in the same folder.
  [[nodiscard]] std::unique_ptr<Postgres> make_standby(const TempDir& folder) const;
  /// Kills it with SIGKILL, and waits until it refuses connections. Its other processes end by
  /// themselves.
  void kill();
  /// Starts it again after kill(). Throws if it does not start.
  void start();
  /// From now on, until resume(), it accepts no connection: the kernel keeps new ones, and what
  /// they send.
  void suspend() { server_->signal(SIGSTOP); }
  void resume() { server_->signal(SIGCONT); }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// What it has logged so far.
  [[nodiscard]] std::string log() const { return server_->standard_error(); }
  /// The user that a test needs if root runs it; otherwise none.
  [[nodiscard]] static ProcessOptions owner();

 private:
  /// Not started yet. Its folder is empty.
  Postgres(std::string data, const ProcessOptions& options, const std::vector<std::string>& more);

  std::string data_;
  ProcessOptions options_;  ///< of all its programs
  std::uint16_t port_;
  std::vector<std::string> arguments_;  ///< of postgres
  std::unique_ptr<Process> server_;
};

}  // namespace sluice::test
