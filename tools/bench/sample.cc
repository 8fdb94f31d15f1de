#include "tools/bench/sample.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "tools/bench/engine.h"
#include "tools/bench/net.h"

namespace sluice::bench {
namespace {

std::uint64_t read_clock(clockid_t clock) {
  timespec time{};
  if (::clock_gettime(clock, &time) != 0) fail_errno("clock_gettime");
  return static_cast<std::uint64_t>(time.tv_sec) * kSecondNs +
         static_cast<std::uint64_t>(time.tv_nsec);
}

std::uint64_t tick_ns() { return kSecondNs / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)); }

std::filesystem::path proc(pid_t pid, const char* entry) {
  return std::filesystem::path("/proc") / std::to_string(pid) / entry;
}

// The fields of /proc/PID/stat from the third one on (proc(5)). The second one may contain any
// character.
std::vector<std::string> stat_fields(pid_t pid) {
  std::ifstream file(proc(pid, "stat"));
  std::string line;
  std::getline(file, line);
  std::istringstream rest(line.substr(std::min(line.size(), line.rfind(')') + 1)));
  return {std::istream_iterator<std::string>(rest), {}};
}

constexpr std::size_t kParentField = 1;
constexpr std::size_t kChildrenUserField = 13;
constexpr std::size_t kChildrenSystemField = 14;

// The CPU time of a process and of the children that it has waited for. It is 0 for a process that
// is gone, whose time is then part of its parent's.
std::uint64_t process_clock(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;
  const std::vector<std::string> fields = stat_fields(pid);
  if (fields.size() <= kChildrenSystemField) return 0;
  const std::uint64_t ticks =
      std::stoull(fields[kChildrenUserField]) + std::stoull(fields[kChildrenSystemField]);
  return static_cast<std::uint64_t>(time.tv_sec) * kSecondNs +
         static_cast<std::uint64_t>(time.tv_nsec) + ticks * tick_ns();
}

// The CPU time of each thread, by thread id.
std::map<std::string, std::uint64_t, std::less<>> threads_of(pid_t pid) {
  std::map<std::string, std::uint64_t, std::less<>> threads;
  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator(proc(pid, "task"), gone)) {
    std::uint64_t ran = 0;
    if (std::ifstream(task.path() / "schedstat") >> ran) threads[task.path().filename()] = ran;
  }
  return threads;
}

// The busy time of all CPUs, from an arbitrary origin: elapsed time minus idle time. If idle CPUs
// have no tick (NO_HZ), the kernel measures idle time continuously. It samples busy time at ticks,
// and a load that runs in step with the clock is then seen always or never.
std::uint64_t machine_busy() {
  std::ifstream file("/proc/stat");
  std::string name;
  std::uint64_t user = 0;
  std::uint64_t nice = 0;
  std::uint64_t system = 0;
  std::uint64_t idle = 0;
  std::uint64_t iowait = 0;
  file >> name >> user >> nice >> system >> idle >> iowait;
  const auto cpus = static_cast<std::uint64_t>(::sysconf(_SC_NPROCESSORS_ONLN));
  return cpus * read_clock(CLOCK_MONOTONIC) - (idle + iowait) * tick_ns();
}

}  // namespace

std::vector<pid_t> process_tree(pid_t root) {
  if (root <= 0) return {};
  std::multimap<pid_t, pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    const std::vector<std::string> fields = stat_fields(pid);
    if (fields.size() > kParentField) {
      children.emplace(static_cast<pid_t>(std::stol(fields[kParentField])), pid);
    }
  }
  std::vector<pid_t> tree{root};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const auto [first, last] = children.equal_range(tree[i]);
    for (auto child = first; child != last; ++child) tree.push_back(child->second);
  }
  return tree;
}

CpuSample sample_cpu(const std::vector<pid_t>& watched) {
  CpuSample sample;
  for (const pid_t pid : watched) {
    sample.watched += process_clock(pid);
    for (const auto& [thread, ran] : threads_of(pid)) sample.schedstat += ran;
  }
  sample.self = read_clock(CLOCK_PROCESS_CPUTIME_ID);
  sample.machine = machine_busy();
  sample.wall = now_ns();
  return sample;
}

ThreadSample sample_threads() { return {now_ns(), threads_of(::getpid())}; }

double busiest_thread(const ThreadSample& before, const ThreadSample& after) {
  if (after.time <= before.time) return 0;
  std::uint64_t most = 0;
  for (const auto& [thread, used] : after.used) {
    const auto at = before.used.find(thread);
    const std::uint64_t then = at != before.used.end() ? at->second : 0;
    most = std::max(most, used - std::min(used, then));
  }
  return static_cast<double>(most) / static_cast<double>(after.time - before.time);
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
    std::error_code gone;
    for (const auto& entry : std::filesystem::directory_iterator(proc(pid, "fd"), gone)) {
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
    std::error_code gone;
    for (const auto& entry : std::filesystem::directory_iterator(proc(pid, "fd"), gone)) {
      std::error_code closed;
      const std::string target = std::filesystem::read_symlink(entry.path(), closed).string();
      if (!target.starts_with("pipe:") || !seen.insert(target).second) continue;
      ++sample.pipes;
      // Opens the same pipe again (proc(5)), so that fcntl reports its size.
      const OwnedFd pipe(::open(entry.path().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
      const int granted = ::fcntl(pipe.get(), F_GETPIPE_SZ);
      if (granted > 0) {
        sample.largest_bytes = std::max(sample.largest_bytes, static_cast<std::uint64_t>(granted));
      }
    }
  }
  return sample;
}

}  // namespace sluice::bench
