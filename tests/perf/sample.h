#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/perf/histogram.h"

namespace sluice::perf {

/// CLOCK_MONOTONIC in nanoseconds.
std::uint64_t now_ns();

/// CPU time used so far, in nanoseconds.
struct CpuSample {
  std::uint64_t wall = 0;
  /// The watched processes by their CPU clocks: the counters behind schedstat, brought up to date
  /// for threads that run now and with those that have exited (clock_getcpuclockid(3)).
  std::uint64_t watched = 0;
  /// The same by summing /proc/PID/task/*/schedstat; loses threads that have exited.
  std::uint64_t schedstat = 0;
  /// This program itself.
  std::uint64_t self = 0;
  /// The whole machine's busy time, in ticks of 10 ms, softirqs included.
  std::uint64_t machine = 0;
};

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

/// A JSON object written field by field.
class Json {
 public:
  Json& add(const std::string& name, double value);
  Json& add(const std::string& name, std::uint64_t value);
  Json& add(const std::string& name, std::int64_t value);
  Json& add(const std::string& name, const std::string& value);
  Json& add(const std::string& name, const char* value) { return add(name, std::string(value)); }
  Json& add(const std::string& name, bool value) { return raw(name, value ? "true" : "false"); }
  [[nodiscard]] std::string str() const { return "{" + text_ + "}"; }

 private:
  Json& raw(const std::string& name, const std::string& value);
  std::string text_;
};

/// Adds what was used between two samples.
void add_cpu(Json& json, const CpuSample& before, const CpuSample& after);

/// Adds quantiles of nanoseconds, in microseconds.
void add_latency(Json& json, const Histogram& latency);

/// Adds what was done between two samples: `rate` names it by the second, `cpu` the watched
/// processes' microseconds for each. Failure if nothing was done.
void add_rate(Json& json, const char* rate, const char* cpu, std::uint64_t count,
              const CpuSample& before, const CpuSample& after);

}  // namespace sluice::perf
