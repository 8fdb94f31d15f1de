#include "tools/bench/metric.h"

namespace sluice::bench {
namespace {

constexpr bool kHigher = true;
constexpr bool kLower = false;

void add_bulk(std::vector<Metric>& metrics, const Part& part, bool cpu) {
  metrics.push_back({"gib_per_s", "GiB/s", kHigher});
  if (cpu) {
    metrics.push_back({"proxy_cpu_s_per_gib", "proxy CPU s/GiB", kLower, 3});
    metrics.push_back({"machine_cpu_s_per_gib", "machine CPU s/GiB", kLower, 3});
  }
  if (part.connections > 1) metrics.push_back({"least_share", "least share", kHigher});
}

void add_latency(std::vector<Metric>& metrics) {
  metrics.push_back({"p50_us", "p50 µs", kLower, 1});
  metrics.push_back({"p99_us", "p99 µs", kLower, 1});
  metrics.push_back({"p999_us", "p99.9 µs", kLower, 1});
}

void add_exchanges(std::vector<Metric>& metrics, const Part& part, bool cpu) {
  const bool call = part.kind == Kind::call;
  const char* rate = call ? "connections/s" : "trips/s";
  metrics.push_back({call ? "connections_per_s" : "trips_per_s", rate, kHigher, 0});
  if (part.rate > 0) metrics.push_back({"unsent", "not sent in time", kLower, 0, false});
  if (cpu) {
    const std::string each = call ? "connection" : "trip";
    metrics.push_back({"proxy_cpu_us_per_" + each, "proxy CPU µs/" + each, kLower});
    metrics.push_back({"machine_cpu_us_per_" + each, "machine CPU µs/" + each, kLower});
  }
  add_latency(metrics);
}

std::vector<Metric> metrics_of(const Part& part, bool cpu) {
  std::vector<Metric> metrics;
  switch (part.kind) {
    case Kind::bulk:
      add_bulk(metrics, part, cpu);
      break;
    case Kind::ping:
    case Kind::call:
      add_exchanges(metrics, part, cpu);
      break;
    case Kind::idle:
      if (cpu) metrics.push_back({"memory_bytes_per_connection", "bytes/connection", kLower, 0});
      break;
  }
  return metrics;
}

const char* unit_of(const Part& part) {
  switch (part.kind) {
    case Kind::bulk:
      return "GiB";
    case Kind::ping:
      return "trip";
    case Kind::call:
    case Kind::idle:
      return "connection";
  }
  return "?";
}

}  // namespace

bool counts_calls(const Workload& workload) {
  return workload.parts.size() == 1 && workload.parts[0].kind != Kind::idle;
}

std::string calls_key(const Part& part) {
  return std::string("proxy_syscalls_per_") + (part.kind == Kind::bulk ? "gib" : unit_of(part));
}

std::vector<Metric> metrics_of(const Workload& workload, bool local, bool calls) {
  if (workload.parts.size() == 1) {
    std::vector<Metric> metrics = metrics_of(workload.parts[0], local);
    if (calls && counts_calls(workload)) {
      const Part& part = workload.parts[0];
      // One run counts, so there is no spread to judge by.
      metrics.push_back(
          {calls_key(part), std::string("system calls/") + unit_of(part), kLower, 2, false});
    }
    if (workload.parts[0].kind == Kind::bulk && local) {
      metrics.push_back({"pipes", "pipes", kLower, 0, false});
    }
    return metrics;
  }
  std::vector<Metric> metrics;
  for (const Part& part : workload.parts) {
    for (Metric metric : metrics_of(part, false)) {
      metric.key = part.name + '.' + metric.key;
      metric.title = part.name + ' ' + metric.title;
      metrics.push_back(std::move(metric));
    }
  }
  if (local) {
    metrics.push_back({"proxy_cpus", "proxy CPUs", kLower});
    metrics.push_back({"proxy_memory_mib", "proxy MiB", kLower, 1});
  }
  return metrics;
}

}  // namespace sluice::bench
