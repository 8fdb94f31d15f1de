#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace sluice::bench {

/// `root` and its descendants; nothing for root 0.
[[nodiscard]] std::vector<pid_t> process_tree(pid_t root);

/// CPU time used so far, in nanoseconds.
struct CpuSample {
  std::uint64_t wall = 0;
  /// The watched processes by their CPU clocks: the counters behind schedstat, brought up to date
  /// for threads that run now and with those that have exited (clock_getcpuclockid(3)). To it comes
  /// what their children used that have been waited for, in ticks of 10 ms.
  std::uint64_t watched = 0;
  /// The same by summing /proc/PID/task/*/schedstat; loses threads and children that have exited.
  std::uint64_t schedstat = 0;
  /// This program itself.
  std::uint64_t self = 0;
  /// The whole machine's busy time, softirqs included: what its CPUs were not idle for, to 10 ms
  /// each. Only differences mean something.
  std::uint64_t machine = 0;
};

/// CPU time that each thread of this program has used so far, in nanoseconds, by its number.
struct ThreadSample {
  std::uint64_t time = 0;  ///< CLOCK_MONOTONIC
  std::map<std::string, std::uint64_t, std::less<>> used;
};

ThreadSample sample_threads();
/// The part of the time between two samples that the busiest thread was on a CPU: near 1 it could
/// not have done more.
[[nodiscard]] double busiest_thread(const ThreadSample& before, const ThreadSample& after);

CpuSample sample_cpu(const std::vector<pid_t>& watched);

struct MemorySample {
  std::int64_t pss_bytes = 0;
  std::int64_t rss_bytes = 0;
  std::int64_t descriptors = 0;
  /// Descriptors that are a pipe's end: two to a pipe.
  std::int64_t pipe_ends = 0;
};

MemorySample sample_memory(const std::vector<pid_t>& watched);

struct PipeSample {
  std::uint64_t pipes = 0;
  /// What the kernel granted the largest of them; 0 without pipes.
  std::uint64_t largest_bytes = 0;
};

/// The pipes that the watched processes hold now, each counted once.
PipeSample sample_pipes(const std::vector<pid_t>& watched);

}  // namespace sluice::bench
