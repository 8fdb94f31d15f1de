#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "proxy/config/config.h"

namespace sluice {

/// What this machine offers to the configuration.
struct Machine {
  bool uring = false;         ///< use io_uring; otherwise Boost.Asio over epoll
  std::string uring_refused;  ///< why not, if the engine is chosen automatically
  std::size_t workers = 1;
  std::vector<int> cpus;          ///< worker i is pinned to cpus[i]; empty: no pinning
  std::uint64_t descriptors = 0;  ///< RLIMIT_NOFILE, raised to its hard limit
  /// The most connections at once: --max-connections, or fewer if the descriptors do not allow it.
  /// If each connection needs one descriptor only, the limit is --max-connections: accept() itself
  /// fails when none is left.
  std::uint64_t connections = 0;
  std::uint64_t mirror_descriptors = 0;  ///< the most that the mirrors of one worker may take
  std::size_t pipe_bytes = 0;            ///< granted size of a pipe; 0: no pipe is available
  std::string pipe_refused;              ///< why no pipe is available
};

/// How many connections the machine allows with this configuration.
[[nodiscard]] std::uint64_t connections_of(const Config& config, const Machine& machine);
/// Whether clients are accepted one at a time, because a whole accepted backlog could take all
/// descriptors. `connections`: the most at once.
[[nodiscard]] bool accepts_one_by_one(const Config& config, std::uint64_t connections);

/// Probes the machine, and raises the soft limit of descriptors. An error if `config` requires
/// something that the machine lacks.
[[nodiscard]] Result<Machine> probe_machine(const Config& config);

/// Checks that the file of each `file:` target is a regular file that can be read now. A start does
/// not check this, because each connection opens the file anew.
[[nodiscard]] Result<> probe_files(const Config& config);

}  // namespace sluice
