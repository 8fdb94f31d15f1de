#include "tests/perf/sample.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/perf/histogram.h"
#include "tests/perf/net.h"

namespace sluice::perf {
namespace {

std::uint64_t read_clock(clockid_t clock) {
  timespec time{};
  if (::clock_gettime(clock, &time) != 0) fail_errno("clock_gettime");
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(time.tv_nsec);
}

std::filesystem::path proc(pid_t pid, const char* entry) {
  return std::filesystem::path("/proc") / std::to_string(pid) / entry;
}

std::uint64_t process_clock(pid_t pid) {
  clockid_t clock{};
  if (::clock_getcpuclockid(pid, &clock) != 0) {
    throw Failure("process " + std::to_string(pid) + " is gone");
  }
  return read_clock(clock);
}

std::uint64_t schedstat(pid_t pid) {
  std::uint64_t sum = 0;
  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator(proc(pid, "task"), gone)) {
    std::uint64_t ran = 0;
    if (std::ifstream(task.path() / "schedstat") >> ran) sum += ran;
  }
  return sum;
}

std::uint64_t machine_busy_ticks() {
  std::ifstream file("/proc/stat");
  std::string name;
  std::uint64_t user = 0;
  std::uint64_t nice = 0;
  std::uint64_t system = 0;
  std::uint64_t idle = 0;
  std::uint64_t iowait = 0;
  std::uint64_t irq = 0;
  std::uint64_t softirq = 0;
  std::uint64_t steal = 0;
  file >> name >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
  return user + nice + system + irq + softirq + steal;
}

}  // namespace

std::uint64_t now_ns() { return read_clock(CLOCK_MONOTONIC); }

CpuSample sample_cpu(const std::vector<pid_t>& watched) {
  CpuSample sample;
  for (const pid_t pid : watched) {
    sample.watched += process_clock(pid);
    sample.schedstat += schedstat(pid);
  }
  sample.self = read_clock(CLOCK_PROCESS_CPUTIME_ID);
  sample.machine = machine_busy_ticks();
  sample.wall = now_ns();
  return sample;
}

MemorySample sample_memory(const std::vector<pid_t>& watched) {
  MemorySample sample;
  for (const pid_t pid : watched) {
    std::ifstream rollup(proc(pid, "smaps_rollup"));
    for (std::string line; std::getline(rollup, line);) {
      std::istringstream fields(line);
      std::string name;
      std::int64_t kib = 0;
      fields >> name >> kib;
      if (name == "Pss:") sample.pss_bytes += kib * 1024;
      if (name == "Rss:") sample.rss_bytes += kib * 1024;
    }
    for (const auto& entry : std::filesystem::directory_iterator(proc(pid, "fd"))) {
      ++sample.descriptors;
      std::error_code closed;
      const std::string target = std::filesystem::read_symlink(entry.path(), closed).string();
      if (target.starts_with("pipe:")) ++sample.pipe_ends;
    }
  }
  return sample;
}

PipeSample sample_pipes(const std::vector<pid_t>& watched) {
  PipeSample sample;
  std::set<std::string> seen;
  for (const pid_t pid : watched) {
    for (const auto& entry : std::filesystem::directory_iterator(proc(pid, "fd"))) {
      std::error_code closed;
      const std::string target = std::filesystem::read_symlink(entry.path(), closed).string();
      if (!target.starts_with("pipe:") || !seen.insert(target).second) continue;
      ++sample.pipes;
      // A second opening of the pipe itself (proc(5)): fcntl answers for it.
      const OwnedFd pipe(::open(entry.path().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
      const int granted = ::fcntl(pipe.get(), F_GETPIPE_SZ);
      if (granted > 0) {
        sample.largest_bytes = std::max(sample.largest_bytes, static_cast<std::uint64_t>(granted));
      }
    }
  }
  return sample;
}

Json& Json::raw(const std::string& name, const std::string& value) {
  if (!text_.empty()) text_ += ", ";
  text_ += '"' + name + "\": " + value;
  return *this;
}

Json& Json::add(const std::string& name, double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.9g", value);
  return raw(name, text);
}

Json& Json::add(const std::string& name, std::uint64_t value) {
  return raw(name, std::to_string(value));
}

Json& Json::add(const std::string& name, std::int64_t value) {
  return raw(name, std::to_string(value));
}

Json& Json::add(const std::string& name, const std::string& value) {
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return raw(name, quoted + '"');
}

void add_cpu(Json& json, const CpuSample& before, const CpuSample& after) {
  const auto seconds = [](std::uint64_t from, std::uint64_t to) {
    return static_cast<double>(to - from) / 1e9;
  };
  const auto ticks_per_s = static_cast<double>(::sysconf(_SC_CLK_TCK));
  json.add("seconds", seconds(before.wall, after.wall))
      .add("proxy_cpu_s", seconds(before.watched, after.watched))
      .add("proxy_schedstat_s",
           (static_cast<double>(after.schedstat) - static_cast<double>(before.schedstat)) / 1e9)
      .add("load_cpu_s", seconds(before.self, after.self))
      .add("machine_busy_s", static_cast<double>(after.machine - before.machine) / ticks_per_s);
}

void add_latency(Json& json, const Histogram& latency) {
  json.add("loop", "closed")
      .add("p50_us", latency.quantile(0.5) / 1e3)
      .add("p90_us", latency.quantile(0.9) / 1e3)
      .add("p99_us", latency.quantile(0.99) / 1e3)
      .add("p999_us", latency.quantile(0.999) / 1e3)
      .add("max_us", static_cast<double>(latency.max()) / 1e3);
}

void add_rate(Json& json, const char* rate, const char* cpu, std::uint64_t count,
              const CpuSample& before, const CpuSample& after) {
  if (count == 0) throw Failure("nothing was completed in the measured time");
  add_cpu(json, before, after);
  const auto done = static_cast<double>(count);
  json.add("count", count)
      .add(rate, done / (static_cast<double>(after.wall - before.wall) / 1e9))
      .add(cpu, static_cast<double>(after.watched - before.watched) / 1e3 / done);
}

}  // namespace sluice::perf
