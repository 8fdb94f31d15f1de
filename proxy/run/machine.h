#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "proxy/config/config.h"

namespace sluice {

/// What the machine offers to this configuration.
struct Machine {
  bool uring = false;         ///< the engine to use: io_uring, or else Boost.Asio over epoll
  std::string uring_refused;  ///< why not, if the engine was to be chosen
  std::size_t workers = 1;
  std::vector<int> cpus;          ///< worker i is pinned to cpus[i]; empty: none is
  std::uint64_t descriptors = 0;  ///< RLIMIT_NOFILE, raised as far as it goes
  /// How many connections can be served at once: what was asked for, or as many as descriptors
  /// allow. Where a connection is one descriptor, accepting itself finds out.
  std::uint64_t connections = 0;
  std::uint64_t mirror_descriptors = 0;  ///< what each worker's mirrors may take
  std::size_t pipe_bytes = 0;            ///< of a pipe now; 0: none is to be had
  std::string pipe_refused;              ///< why not
};

/// Probes the machine and raises the soft limit of descriptors; fails where `config` insists on
/// what is not to be had.
[[nodiscard]] Result<Machine> probe_machine(const Config& config);

/// Whether the files of all targets `file:` could be sent now: regular ones that may be read. A
/// start does not ask: such a file is opened for each connection.
[[nodiscard]] Result<> probe_files(const Config& config);

}  // namespace sluice
