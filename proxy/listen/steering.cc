#include "proxy/listen/steering.h"

#include <linux/filter.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>

namespace sluice {
namespace {

// A worker has too many connections if it accepts more than kMostShares times an equal share.
// Chance alone does not cause that three times in a row. With few workers the limit is kNearlyAll
// of all connections.
constexpr double kMostShares = 2.4;
constexpr double kNearlyAll = 0.9;

Result<> attach(int fd, std::vector<sock_filter>& program) {
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) != 0) {
    return errno_error("setsockopt SO_ATTACH_REUSEPORT_CBPF");
  }
  return {};
}

}  // namespace

bool Steering::has_too_many(Place& own, std::uint64_t live) const {
  std::uint64_t all = 0;
  for (const Place& place : places_) all += place.count.load(std::memory_order_relaxed);
  const auto workers = static_cast<double>(places_.size());
  const double share = static_cast<double>(all - own.all_before) / workers;
  own.all_before = all;
  const double most = std::min(kMostShares, kNearlyAll * workers) * share;
  const bool lopsided = live >= kCrowd && static_cast<double>(kWindow) > most;
  own.lopsided = lopsided ? own.lopsided + 1 : 0;
  return own.lopsided >= kWindows;
}

// One comparison for each worker, because CPU numbers need not be 0 … n-1. Connections on other
// CPUs are spread over all workers.
Result<> steer_by_cpu(int fd, const std::vector<int>& cpus) {
  std::vector<sock_filter> program;
  const auto ancillary = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_CPU);
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ancillary));
  for (std::size_t worker = 0; worker < cpus.size(); ++worker) {
    const auto cpu = static_cast<std::uint32_t>(cpus[worker]);
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, cpu, 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, static_cast<std::uint32_t>(worker)));
  }
  const auto count = static_cast<std::uint32_t>(cpus.size());
  program.push_back(BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count));
  program.push_back(BPF_STMT(BPF_RET | BPF_A, 0));
  return attach(fd, program);
}

// If the program selects no socket of the group, the kernel uses its hash. SO_DETACH_REUSEPORT_BPF
// needs a newer kernel than steering does.
Result<> stop_steering(int fd) {
  std::vector<sock_filter> program{
      BPF_STMT(BPF_RET | BPF_K, std::numeric_limits<std::uint32_t>::max())};
  return attach(fd, program);
}

}  // namespace sluice
