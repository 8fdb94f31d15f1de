#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/log_line.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/system/forwarding.h"

namespace sluice::test {

/// How long a program may take, on a machine that is busy otherwise.
inline constexpr std::chrono::seconds kProgramPatience{240};

/// The daemon in front of a real program, with a folder for the program's files.
class ProgramTest : public ForwardingTest {
 protected:
  /// Starts the daemon in front of `port` of loopback.
  void start_before(std::uint16_t port, const std::vector<std::string>& more = {});
  /// The port on which the daemon listens, as an argument.
  [[nodiscard]] std::string entrance() const { return std::to_string(daemon_->port()); }

  /// They listen on `port` of loopback, each as one process with its own files in the test's
  /// folder. nginx serves the files of `root`, with more settings; `more` are arguments of
  /// redis-server.
  [[nodiscard]] std::unique_ptr<Process> start_nginx(std::uint16_t port, const std::string& root,
                                                     const std::string& settings = {}) const;
  [[nodiscard]] std::unique_ptr<Process> start_redis(
      std::uint16_t port, const std::vector<std::string>& more = {}) const;
  /// `config`: sections with a `bind` for that port; `defaults` has the time-outs.
  [[nodiscard]] std::unique_ptr<Process> start_haproxy(std::uint16_t port,
                                                       const std::string& config) const;
  /// Makes the files `key` and `certificate` for localhost, in the test's folder.
  void make_certificate() const;

  /// Waits until this number of connections has ended. Returns the fields of the last one's line.
  [[nodiscard]] LogFields last_end(std::size_t count) const;

  TempDir folder_;
};

/// Waits until `program` listens on `port`, without connecting, since some serve one client only.
/// Throws with the program's output if it does not.
void wait_for_listener(Process& program, std::uint16_t port);

/// Options with these borrowed descriptors as input and output; -1 leaves the default.
[[nodiscard]] ProcessOptions with_streams(int input, int output);

/// Runs a program, which must succeed, and returns its standard output.
[[nodiscard]] std::string run_program(const std::vector<std::string>& argv,
                                      const ProcessOptions& options = {});

/// The bytes that all connections have forwarded, summed from the lines logged at their ends. Waits
/// until there are `connections` of them.
struct Moved {
  std::uint64_t to_upstream = 0;
  std::uint64_t to_client = 0;
  std::uint64_t spliced_to_upstream = 0;
  std::uint64_t spliced_to_client = 0;
};
[[nodiscard]] Moved moved_bytes(const Daemon& daemon, std::size_t connections);

/// Every engine, with --zero-copy auto.
[[nodiscard]] std::vector<Mode> both_engines();

}  // namespace sluice::test
