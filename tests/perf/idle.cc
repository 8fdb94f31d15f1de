// idle: what connections cost that have each exchanged a byte and then rest.

#include "tests/perf/net.h"
#include "tests/perf/workloads.h"

namespace sluice::perf {
namespace {

/// One byte there and back on every connection.
void exchange(const Pairs& pairs, char byte) {
  for (std::size_t i = 0; i < pairs.clients.size(); ++i) {
    const char sent = static_cast<char>(byte + static_cast<char>(i % 64));
    if (send_some(pairs.clients[i].get(), &sent, 1, "client") != 1) throw Failure("not taken");
  }
  const auto receive = [](const OwnedFd& fd, const char* who) {
    char got = 0;
    while (true) {
      const Received part = receive_some(fd.get(), &got, 1, who);
      if (part.bytes == 1) return got;
      if (part.ended) throw Failure(std::string(who) + ": closed before its byte");
      Epoll waiting;
      waiting.add(fd.get(), EPOLLIN, 0);
      waiting.wait(kTickMs);
    }
  };
  for (const OwnedFd& backend : pairs.backends) {
    const char got = receive(backend, "backend");
    if (send_some(backend.get(), &got, 1, "backend") != 1) throw Failure("not taken");
  }
  for (std::size_t i = 0; i < pairs.clients.size(); ++i) {
    if (receive(pairs.clients[i], "client") !=
        static_cast<char>(byte + static_cast<char>(i % 64))) {
      throw Failure("client: a wrong byte came back");
    }
  }
}

/// The memory of forwarders that have finished starting: when it has stopped changing.
MemorySample settled_memory(const std::vector<pid_t>& watched) {
  constexpr int kTries = 30;
  MemorySample sample = sample_memory(watched);
  for (int i = 0; i < kTries; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kTickMs));
    const MemorySample next = sample_memory(watched);
    const bool same = next.pss_bytes == sample.pss_bytes && next.descriptors == sample.descriptors;
    sample = next;
    if (same) break;
  }
  return sample;
}

}  // namespace

void run_idle(const Options& options, Json& json) {
  const OwnedFd listener = listen_on(options.serve);
  const std::uint16_t port = options.to != 0 ? options.to : local_port(listener.get());
  const MemorySample fresh = settled_memory(options.watched);
  const Pairs pairs = connect_pairs(listener.get(), port, options.connections);
  exchange(pairs, 'a');
  const CpuSample before = sample_cpu(options.watched);
  std::this_thread::sleep_for(options.idle);
  const CpuSample after = sample_cpu(options.watched);
  const MemorySample idle = settled_memory(options.watched);
  exchange(pairs, 'A');
  const auto each = [&](std::int64_t from, std::int64_t to) {
    return static_cast<double>(to - from) / static_cast<double>(options.connections);
  };
  add_cpu(json, before, after);
  json.add("pss_fresh_bytes", fresh.pss_bytes)
      .add("pss_idle_bytes", idle.pss_bytes)
      .add("rss_fresh_bytes", fresh.rss_bytes)
      .add("rss_idle_bytes", idle.rss_bytes)
      .add("bytes_per_connection", each(fresh.pss_bytes, idle.pss_bytes))
      .add("rss_per_connection", each(fresh.rss_bytes, idle.rss_bytes))
      .add("descriptors_per_connection", each(fresh.descriptors, idle.descriptors))
      .add("pipe_ends_fresh", fresh.pipe_ends)
      .add("pipe_ends_idle", idle.pipe_ends);
}

}  // namespace sluice::perf
