#include "proxy/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <variant>

#include "iolib/pipe/pipe.h"
#include "iolib/reactor/uring_reactor.h"

namespace sluice {
namespace {

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
  static_cast<void>(::getrlimit(RLIMIT_NOFILE, &limit));
  return limit.rlim_cur;
}

Result<std::vector<int>> worker_cpus(const CpuAffinity& affinity, std::size_t workers) {
  const std::vector<int> allowed = allowed_cpus();
  std::vector<int> from;
  switch (affinity.mode) {
    case CpuAffinity::Mode::none:
      return from;
    case CpuAffinity::Mode::automatic:
      // More workers than CPUs: the scheduler knows better where to put them.
      if (workers > allowed.size()) return from;
      from = allowed;
      break;
    case CpuAffinity::Mode::list:
      from = affinity.cpus;
  }
  for (const int cpu : from) {
    if (std::find(allowed.begin(), allowed.end(), cpu) == allowed.end()) {
      return Error{0, "--cpu-affinity: this process may not run on CPU " + std::to_string(cpu)};
    }
  }
  std::vector<int> cpus;
  for (std::size_t worker = 0; worker < workers; ++worker)
    cpus.push_back(from[worker % from.size()]);
  return cpus;
}

void probe_pipe(std::size_t wanted_bytes, Machine& machine) {
  const Result<Pipe> pipe = Pipe::create(wanted_bytes);
  if (pipe.has_value()) {
    machine.pipe_bytes = pipe->capacity_bytes();
  } else {
    machine.pipe_refused = pipe.error().to_string();
  }
}

}  // namespace

Result<Machine> probe_machine(const Config& config) {
  Machine machine;
  machine.descriptors = raise_descriptor_limit();
  probe_pipe(config.pipe_size_bytes, machine);
  machine.workers =
      config.workers > 0 ? static_cast<std::size_t>(config.workers) : allowed_cpus().size();
  Result<std::vector<int>> cpus = worker_cpus(config.cpu_affinity, machine.workers);
  if (cpus.has_error()) return cpus.error();
  machine.cpus = std::move(*cpus);
  if (config.engine == Engine::epoll) return machine;
  Result<std::unique_ptr<UringReactor>> probe = UringReactor::create();
  machine.uring = probe.has_value();
  if (machine.uring) return machine;
  machine.uring_refused = probe.error().to_string();
  if (config.engine == Engine::uring) return Error{0, "--engine uring: " + machine.uring_refused};
  return machine;
}

Result<> probe_files(const Config& config) {
  for (const RouteConfig& route : config.routes) {
    const auto* file = std::get_if<FileEndpoint>(&route.to);
    if (file == nullptr) continue;
    struct stat about {};
    if (::stat(file->path.c_str(), &about) != 0 || ::access(file->path.c_str(), R_OK) != 0) {
      return errno_error("open " + file->path);
    }
    if (!S_ISREG(about.st_mode)) return Error{EINVAL, file->path + " is not a regular file"};
  }
  return {};
}

}  // namespace sluice
