#include "proxy/run/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <variant>

#include "iolib/pipe/pipe.h"
#include "iolib/reactor/uring_reactor.h"
#include "proxy/health/checker.h"

namespace sluice {
namespace {

// Descriptors that connections cannot use: for the log, captures and look-ups; for each worker,
// whose loop has up to six; and for pipes. Where pipes get fewer than they need, some bytes are
// copied.
constexpr std::uint64_t kOwnDescriptors = 64;
constexpr std::uint64_t kWorkerDescriptors = 16;
// The admin thread has at most 32 connections.
constexpr std::uint64_t kAdminDescriptors = 40;
constexpr std::uint64_t kPipeShare = 8;
// The share of the descriptors that mirrors may take, so that connections can still be accepted.
constexpr std::uint64_t kMirrorShare = 4;

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
      // Pin only if there is one worker for each CPU. Otherwise the scheduler places them better,
      // and other processes would pin theirs to the same first CPUs.
      if (workers != allowed.size()) return from;
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

// If the descriptors allow fewer connections than this, clients are accepted one at a time, because
// a whole accepted backlog could take all descriptors. Above it enough remain, and a standing
// accept is cheaper.
constexpr std::uint64_t kLongestBurst = 4096;

void probe_pipe(std::size_t wanted_bytes, Machine& machine) {
  const Result<Pipe> pipe = Pipe::create(wanted_bytes);
  if (pipe.has_value()) {
    machine.pipe_bytes = pipe->capacity_bytes();
  } else {
    machine.pipe_refused = pipe.error().to_string();
  }
}

// The descriptors that one connection of the route needs, without pipes.
std::uint64_t descriptors_of(const RouteConfig& route) {
  if (std::holds_alternative<EchoEndpoint>(route.target())) return 1;
  return std::holds_alternative<FileEndpoint>(route.target()) ? 3 : 2;
}

}  // namespace

// How many connections the descriptors allow. A client that is accepted with the last descriptor
// could not be served.
std::uint64_t connections_of(const Config& config, const Machine& machine) {
  std::uint64_t each = 1;
  std::uint64_t listeners = 0;
  std::uint64_t checks = 0;
  bool mirrored = false;
  for (const RouteConfig& route : config.routes) {
    each = std::max(each, descriptors_of(route));
    mirrored = mirrored || !route.mirrors.empty();
    listeners += route.listen.size();
    if (route.health != Health::none) checks += route.to.size();
  }
  if (each == 1) return config.max_connections;
  std::uint64_t left = machine.descriptors;
  if (mirrored) left -= left / kMirrorShare;
  const std::uint64_t pipe_slots =
      std::max<std::uint64_t>(1, config.pipe_size_bytes / Pipe::kSlotBytes);
  const std::uint64_t pipes =
      std::min(2 * config.pipe_budget_slots / pipe_slots, left / kPipeShare);
  const std::uint64_t own = kOwnDescriptors + (kWorkerDescriptors + listeners) * machine.workers +
                            (config.admin.empty() ? 0 : kAdminDescriptors + config.admin.size()) +
                            pipes + std::min<std::uint64_t>(checks, HealthChecker::kMostAtOnce);
  left = std::max(left / 2, left - std::min(left, own));
  return std::min(config.max_connections, std::max<std::uint64_t>(1, left / each));
}

bool accepts_one_by_one(const Config& config, std::uint64_t connections) {
  return connections < std::min(config.max_connections, kLongestBurst);
}

Result<Machine> probe_machine(const Config& config) {
  Machine machine;
  machine.descriptors = raise_descriptor_limit();
  probe_pipe(config.pipe_size_bytes, machine);
  machine.workers =
      config.workers > 0 ? static_cast<std::size_t>(config.workers) : allowed_cpus().size();
  machine.connections = connections_of(config, machine);
  machine.mirror_descriptors = machine.descriptors / kMirrorShare / machine.workers;
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
    const auto* file = std::get_if<FileEndpoint>(&route.target());
    if (file == nullptr) continue;
    struct stat about {};
    if (::stat(file->path.c_str(), &about) != 0 || ::access(file->path.c_str(), R_OK) != 0) {
      return errno_error("open " + file->path);
    }
    if (!S_ISREG(about.st_mode)) return Error{0, file->path + " is not a regular file"};
  }
  return {};
}

}  // namespace sluice
