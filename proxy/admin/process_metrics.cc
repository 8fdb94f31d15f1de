#include "proxy/admin/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <optional>

namespace sluice::admin {
namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// Since Linux 6.2 the size of the folder is how many descriptors are open. Before, they must be
// counted.
std::optional<std::uint64_t> open_descriptors() {
  constexpr const char* kFolder = "/proc/self/fd";
  struct stat about {};
  if (::stat(kFolder, &about) != 0) return std::nullopt;
  if (about.st_size > 0) return static_cast<std::uint64_t>(about.st_size);
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(kFolder), &::closedir);
  if (!folder) return std::nullopt;
  std::uint64_t count = 0;
  while (::readdir(folder.get()) != nullptr) ++count;
  return count - 3;  // ".", ".." and the descriptor of the folder itself
}

// Fields of /proc/self/stat, see proc(5).
struct Stat {
  unsigned long long start_ticks = 0;  // after the boot
  unsigned long long virtual_bytes = 0;
  long long resident_pages = 0;
};

std::optional<Stat> read_stat() {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/self/stat", "re"),
                                                   &std::fclose);
  Stat stat;
  // The second field, the name in parentheses, may hold anything but a line break. Ours holds no
  // parenthesis.
  if (!file || std::fscanf(file.get(),
                           "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
                           "%*d %*d %*d %*d %*d %llu %llu %lld",
                           &stat.start_ticks, &stat.virtual_bytes, &stat.resident_pages) != 3) {
    return std::nullopt;
  }
  return stat;
}

double now_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// When the process started, in seconds since the epoch. Computed once, so that it stays the same
// whatever happens to the wall clock.
double start_time(const Stat& stat) {
  static const double time =
      now_of(CLOCK_REALTIME) - now_of(CLOCK_BOOTTIME) +
      static_cast<double>(stat.start_ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return time;
}

}  // namespace

void add_process_metrics(MetricsWriter& metrics) {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    metrics.add_single("process_cpu_seconds_total", MetricType::counter,
                       "User and system CPU time spent.",
                       seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
  }
  if (const std::optional<Stat> stat = read_stat()) {
    metrics.add_single("process_resident_memory_bytes", MetricType::gauge, "Resident memory.",
                       static_cast<std::uint64_t>(stat->resident_pages) *
                           static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
    metrics.add_single("process_virtual_memory_bytes", MetricType::gauge, "Virtual memory.",
                       std::uint64_t{stat->virtual_bytes});
    metrics.add_single("process_start_time_seconds", MetricType::gauge,
                       "When the process started, in seconds since the epoch.", start_time(*stat));
  }
  if (const std::optional<std::uint64_t> open = open_descriptors()) {
    metrics.add_single("process_open_fds", MetricType::gauge, "Open file descriptors.", *open);
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    metrics.add_single("process_max_fds", MetricType::gauge,
                       "The most file descriptors that the process may have open.",
                       std::uint64_t{limit.rlim_cur});
  }
}

}  // namespace sluice::admin
