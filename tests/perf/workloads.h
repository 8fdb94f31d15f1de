#pragma once

#include <sys/types.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/perf/sample.h"

namespace sluice::perf {

struct Options {
  std::string workload;
  std::uint16_t serve = 0;
  std::uint16_t to = 0;
  std::chrono::milliseconds duration{3000};
  std::chrono::milliseconds warmup{300};
  std::chrono::milliseconds idle{1000};
  std::size_t connections = 1;
  std::size_t size_bytes = 1;
  // 0: as many as the workload uses by default.
  std::size_t threads = 0;
  std::size_t backend_threads = 0;
  std::size_t verify_bytes = std::size_t{64} << 20;
  bool down = false;
  bool backend_closes = false;
  std::vector<pid_t> watched;
};

enum class Phase { warmup, measure, stop };

/// What the threads of one run share: the phase, and the first thing that went wrong.
class Control {
 public:
  [[nodiscard]] Phase phase() const { return phase_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_relaxed); }
  void enter(Phase phase) { phase_ = phase; }

  /// Keeps the first reason and makes every thread end.
  void fail(const std::string& reason);
  /// Throws the first reason as a Failure, if there is one.
  void check();

 private:
  std::atomic<Phase> phase_{Phase::warmup};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::string reason_;
};

/// Threads whose exceptions end up in the Control; joined by join() or the destructor.
class Crew {
 public:
  explicit Crew(Control& control) : control_(control) {}
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew();
  void start(std::function<void()> work);
  void join();

 private:
  Control& control_;
  std::vector<std::thread> threads_;
};

/// Lets the warm-up pass, measures for the duration, stops; `mark` is called at both ends of the
/// measured time. Returns the samples of both ends.
std::pair<CpuSample, CpuSample> measure(Control& control, const Options& options,
                                        const std::function<void()>& mark = {});

/// How many threads serve an end: what was asked for or else `usual`, at most one a connection.
inline std::size_t thread_count(const Options& options, std::size_t asked, std::size_t usual) {
  return std::min(asked != 0 ? asked : usual, options.connections);
}

/// Each runs one workload and adds its figures; throws Failure if the run is void.
void run_bulk(const Options& options, Json& json);
void run_rr(const Options& options, Json& json);
void run_crr(const Options& options, Json& json);
void run_idle(const Options& options, Json& json);

/// `size` pseudo-random bytes, the same in every run.
std::vector<char> random_bytes(std::size_t size);

}  // namespace sluice::perf
