#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace sluice::bench {

/// `root` and its descendants, `root` first; empty for root 0.
[[nodiscard]] std::vector<pid_t> process_tree(pid_t root);

/// CPU time used so far. All values are in nanoseconds; only differences are meaningful.
struct CpuSample {
  std::uint64_t wall = 0;
  /// The watched processes' CPU clocks (clock_getcpuclockid(3)), which include running threads up
  /// to now and threads that have exited. Children that were waited for are added, in ticks of 10
  /// ms.
  std::uint64_t watched = 0;
  /// The same as the sum of /proc/PID/task/*/schedstat, which loses threads and children that have
  /// exited.
  std::uint64_t schedstat = 0;
  /// This process.
  std::uint64_t self = 0;
  /// The whole machine's busy time, including softirqs: the time for which its CPUs were not idle,
  /// to within 10 ms per CPU.
  std::uint64_t machine = 0;
};

/// CPU time that each thread of this process has used so far, in nanoseconds, by thread id.
struct ThreadSample {
  std::uint64_t time = 0;  ///< CLOCK_MONOTONIC
  std::map<std::string, std::uint64_t, std::less<>> used;
};

/// Samples the threads of this process.
ThreadSample sample_threads();
/// The fraction of the time between two samples that the busiest thread was on a CPU. Near 1, that
/// thread was the limit.
[[nodiscard]] double busiest_thread(const ThreadSample& before, const ThreadSample& after);

/// Samples the CPU time of `watched`, of this process and of the machine.
CpuSample sample_cpu(const std::vector<pid_t>& watched);

/// Memory and descriptors of the watched processes together.
struct MemorySample {
  std::int64_t pss_bytes = 0;
  std::int64_t rss_bytes = 0;
  std::int64_t descriptors = 0;
  /// Descriptors that are the end of a pipe; a pipe has two.
  std::int64_t pipe_ends = 0;
};

MemorySample sample_memory(const std::vector<pid_t>& watched);

/// Pipes of the watched processes together.
struct PipeSample {
  std::uint64_t pipes = 0;
  /// The capacity of the largest one, as the kernel granted it; 0 without pipes.
  std::uint64_t largest_bytes = 0;
};

/// The pipes that the watched processes hold, each counted once.
PipeSample sample_pipes(const std::vector<pid_t>& watched);

}  // namespace sluice::bench
