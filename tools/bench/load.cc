#include "tools/bench/load.h"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "iolib/base/shortage.h"
#include "tools/bench/blocking.h"
#include "tools/bench/call.h"
#include "tools/bench/document.h"
#include "tools/bench/engine.h"
#include "tools/bench/interrupt.h"
#include "tools/bench/message.h"
#include "tools/bench/metric.h"
#include "tools/bench/protocol.h"
#include "tools/bench/remote.h"
#include "tools/bench/sample.h"
#include "tools/bench/stream.h"
#include "tools/common/status_line.h"

namespace sluice::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr const char* kLoadEnd = "client";
// The longest pause on the control connection. Paths cut idle connections, and errors that the
// serving end finds should be reported early.
constexpr std::chrono::seconds kAliveInterval{5};
constexpr std::chrono::seconds kStillTimeout{30};
// The connections that are opened before the load waits for all of them to arrive, so that no
// backlog overflows.
constexpr std::size_t kConnectBatch = 128;
// A forwarder's one-time allocations for its first connections are not part of an idle connection's
// cost. These connections open before the first look at memory, and stay open, so that the measured
// ones cannot reuse their memory.
constexpr std::size_t kFirstConnections = 64;
// With one thread per end, that thread's loop, not the path, decides which stream moves. Among 64
// connections, two sources and one sink gave shares of 0.65 to 6; eight of each gave 0.94 to 1.06.
constexpr std::size_t kStreamThreads = 8;

std::chrono::nanoseconds to_duration(double seconds) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * kNsPerSecond));
}

/// One part at this end: its connections and their results.
struct LoadPart {
  const Part* part = nullptr;
  std::uint32_t first = 0;                                ///< its first connection's number
  std::vector<std::unique_ptr<ExchangeResults>> results;  ///< one per loop
  std::vector<std::unique_ptr<Exchanger>> exchangers;
  std::vector<OwnedFd> idle;
  std::vector<std::unique_ptr<Loop>> loops;
  std::vector<std::thread> threads;  ///< one per exchanger
};

// The pace of one of the part's connections.
Pace pace_of(const Part& part, std::size_t index) {
  if (part.rate <= 0) return {};
  const auto interval =
      static_cast<std::uint64_t>(kNsPerSecond * static_cast<double>(part.connections) / part.rate);
  return {interval, interval * index / part.connections};
}

class LoadRun {
 public:
  LoadRun(const LoadOptions& options, const Workload& workload)
      : options_(options), workload_(workload), remote_(options.to, run_, options.opening) {}
  ~LoadRun();
  LoadRun(const LoadRun&) = delete;
  LoadRun& operator=(const LoadRun&) = delete;

  [[nodiscard]] json::object run();
  /// After a failure of run(): what the serving end found, if that is why; otherwise empty.
  [[nodiscard]] std::string complaint() { return control_.failed() ? remote_.complaint() : ""; }

 private:
  void open(LoadPart& part);
  void open_streams(LoadPart& part);
  void open_pings(LoadPart& part);
  void open_callers(LoadPart& part);
  void start_exchangers(LoadPart& part);
  [[nodiscard]] std::vector<OwnedFd> open_idle(std::size_t count);
  void exchange(const std::vector<OwnedFd>& fds) const;
  void verify(bool up);
  void await_arrivals();
  [[nodiscard]] OwnedFd connect(Hello hello);
  void add_loops(LoadPart& part, std::size_t usual);
  void pass(std::chrono::nanoseconds time) const;
  void pass_alive(std::chrono::nanoseconds time);
  void finish();
  void finish_loop(Loop& loop) const;
  void compare_counts() const;
  [[nodiscard]] Mark mark() const;
  [[nodiscard]] std::size_t threads(const Part& part) const;

  void report(json::object& metrics, json::object& percentiles);
  void report_bulk(const LoadPart& part, json::object& metrics, const std::string& prefix) const;
  void report_exchanges(const LoadPart& part, json::object& metrics, json::object& percentiles,
                        const std::string& prefix) const;
  void report_path(json::object& metrics) const;
  [[nodiscard]] double seconds() const {
    return static_cast<double>(cpu_after_.wall - cpu_before_.wall) / kNsPerSecond;
  }

  const LoadOptions& options_;
  const Workload& workload_;
  std::uint64_t run_ = std::random_device{}() * std::uint64_t{0x100000001} ^ now_ns();
  /// Null if system calls are not counted. It starts before all connections.
  std::unique_ptr<CallCounter> counter_ = options_.call_tool != CallTool::none
                                              ? std::make_unique<CallCounter>(options_.call_tool)
                                              : nullptr;
  Remote remote_;
  Control control_;
  std::vector<std::unique_ptr<StreamCounts>> counts_;  ///< by connection number
  std::uint32_t next_number_ = 0;
  std::size_t opened_ = 0;  ///< data connections that the serving end should have seen
  std::vector<pid_t> watched_;
  std::vector<OwnedFd> first_;  ///< for an idle part: kFirstConnections
  MemorySample fresh_;          ///< memory with only those open
  MemorySample loaded_;
  PipeSample pipes_;
  double busiest_ = 0;  ///< busiest thread of both ends
  std::uint64_t measured_ns_ = 0;
  std::optional<std::uint64_t> calls_;  ///< system calls of the path
  CpuSample cpu_before_;
  CpuSample cpu_after_;
  Mark here_before_, here_after_, there_before_, there_after_, there_end_;
  std::vector<LoadPart> parts_;
};

LoadRun::~LoadRun() {
  control_.fail("ended early");
  for (LoadPart& part : parts_) {
    for (std::thread& thread : part.threads) thread.join();
  }
}

// --- Opening ---

std::size_t LoadRun::threads(const Part& part) const {
  const std::size_t usual = part.kind == Kind::bulk ? kStreamThreads : 1;
  return std::min(options_.threads != 0 ? options_.threads : usual, part.connections);
}

OwnedFd LoadRun::connect(Hello hello) {
  hello.run = run_;
  hello.number = next_number_++;
  OwnedFd fd = connect_to(options_.to);
  send_all(fd.get(), first_bytes(options_.opening, hello, hello.number, INADDR_LOOPBACK), kLoadEnd);
  counts_.push_back(std::make_unique<StreamCounts>());
  ++opened_;
  if (opened_ % kConnectBatch == 0) await_arrivals();
  return fd;
}

void LoadRun::await_arrivals() {
  check_interrupted();
  remote_.await(opened_);
}

void LoadRun::add_loops(LoadPart& part, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) part.loops.push_back(std::make_unique<Loop>(control_));
}

void LoadRun::open(LoadPart& part) {
  part.first = next_number_;
  switch (part.part->kind) {
    case Kind::bulk:
      return open_streams(part);
    case Kind::ping:
      return open_pings(part);
    case Kind::call:
      return open_callers(part);
    case Kind::idle:
      part.idle = open_idle(part.part->connections);
      return;
  }
}

void LoadRun::open_streams(LoadPart& part) {
  const Part& what = *part.part;
  Hello hello;
  hello.role = Role::stream;
  hello.send = what.direction != Direction::up;
  hello.receive = what.direction != Direction::down;
  hello.plain = what.ends == Ends::plain;
  hello.verify = options_.verify_all;
  StreamOptions stream;
  stream.who = kLoadEnd;
  stream.send = hello.receive;
  stream.receive = hello.send;
  stream.ends = what.ends;
  stream.verify_all = options_.verify_all;
  stream.read_rate_bytes = what.read_rate_bytes;
  add_loops(part, threads(what));
  std::vector<OwnedFd> fds;
  for (std::size_t i = 0; i < what.connections; ++i) fds.push_back(connect(hello));
  await_arrivals();
  for (std::size_t i = 0; i < what.connections; ++i) {
    stream.number = part.first + i;
    part.loops[i % part.loops.size()]->add(
        std::make_unique<Stream>(std::move(fds[i]), *counts_[stream.number], stream));
  }
}

void LoadRun::open_pings(LoadPart& part) {
  const Part& what = *part.part;
  Hello hello;
  hello.role = Role::echo;
  hello.size_bytes = static_cast<std::uint32_t>(what.size_bytes);
  hello.threaded = what.threading == Threading::per_connection;
  std::vector<OwnedFd> fds;
  for (std::size_t i = 0; i < what.connections; ++i) fds.push_back(connect(hello));
  await_arrivals();
  if (hello.threaded) {
    for (std::size_t i = 0; i < what.connections; ++i) {
      part.exchangers.push_back(std::make_unique<BlockingPing>(
          std::move(fds[i]), control_, pace_of(what, i), part.first + i, what.size_bytes));
    }
    return start_exchangers(part);
  }
  add_loops(part, threads(what));
  for (std::size_t i = 0; i < part.loops.size(); ++i) {
    part.results.push_back(std::make_unique<ExchangeResults>());
  }
  for (std::size_t i = 0; i < what.connections; ++i) {
    const std::size_t loop = i % part.loops.size();
    part.loops[loop]->add(std::make_unique<Ping>(
        std::move(fds[i]), *part.results[loop], pace_of(what, i), part.first + i, what.size_bytes));
  }
}

void LoadRun::open_callers(LoadPart& part) {
  const Part& what = *part.part;
  for (std::size_t i = 0; i < what.connections; ++i) {
    part.exchangers.push_back(
        std::make_unique<Caller>(control_, pace_of(what, i), options_.to, options_.opening, run_,
                                 next_number_++, what.threading == Threading::per_connection));
    counts_.push_back(std::make_unique<StreamCounts>());
  }
  start_exchangers(part);
}

void LoadRun::start_exchangers(LoadPart& part) {
  for (const auto& exchanger : part.exchangers) {
    part.threads.push_back(start_thread([this, &exchanger = *exchanger] {
      try {
        exchanger.run();
      } catch (const std::exception& error) {
        control_.fail(error.what());
      }
    }));
  }
}

std::vector<OwnedFd> LoadRun::open_idle(std::size_t count) {
  Hello hello;
  hello.role = Role::echo;
  std::vector<OwnedFd> fds;
  for (std::size_t i = 0; i < count; ++i) fds.push_back(connect(hello));
  await_arrivals();
  exchange(fds);
  return fds;
}

// Exchanges a byte on each connection.
void LoadRun::exchange(const std::vector<OwnedFd>& fds) const {
  const auto byte_of = [](std::size_t i) { return static_cast<char>('0' + i % 64); };
  for (std::size_t i = 0; i < fds.size(); ++i) {
    const char byte = byte_of(i);
    send_all(fds[i].get(), {&byte, 1}, kLoadEnd);
  }
  for (std::size_t i = 0; i < fds.size(); ++i) {
    if (receive_byte(fds[i].get(), kLoadEnd) != byte_of(i)) {
      throw Failure("client: a wrong byte came back");
    }
  }
}

// Sends one stream whose every byte is compared, because measured streams drop bytes unread.
void LoadRun::verify(bool up) {
  Hello hello;
  hello.role = Role::stream;
  hello.verify = true;
  hello.receive = up;
  hello.send = !up;
  hello.limit = up ? 0 : options_.verify_bytes;
  StreamOptions stream;
  stream.who = kLoadEnd;
  stream.number = next_number_;
  stream.send = up;
  stream.receive = !up;
  stream.verify_all = true;
  if (up) stream.limit = options_.verify_bytes;
  Loop loop(control_);
  OwnedFd fd = connect(hello);
  await_arrivals();
  StreamCounts& counts = *counts_[stream.number];
  loop.add(std::make_unique<Stream>(std::move(fd), counts, stream));
  // A path may be slow, so the time-out counts from the last progress.
  std::uint64_t before = 0;
  auto moved = steady_clock::now();
  for (;;) {
    pass(milliseconds(5));
    const std::uint64_t arrived =
        up ? remote_.mark().received.at(stream.number) : counts.received.load();
    if (arrived == options_.verify_bytes) break;
    if (arrived > before) moved = steady_clock::now();
    before = arrived;
    if (steady_clock::now() - moved > kStillTimeout) {
      throw Failure("the stream to be verified stopped at " + std::to_string(arrived) + " of " +
                    std::to_string(options_.verify_bytes) + " bytes");
    }
  }
  loop.stop();
  finish_loop(loop);
}

// --- Measuring ---

void LoadRun::pass(std::chrono::nanoseconds time) const {
  constexpr milliseconds kStep{50};
  const auto end = steady_clock::now() + time;
  for (auto now = steady_clock::now(); now < end; now = steady_clock::now()) {
    control_.check();
    check_interrupted();
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(end - now, kStep));
  }
  control_.check();
}

void LoadRun::pass_alive(std::chrono::nanoseconds time) {
  const auto whole_seconds = [](std::chrono::nanoseconds of) {
    return std::to_string(std::chrono::round<std::chrono::seconds>(of).count()) + " s";
  };
  // On a terminal, the caller already shows the run.
  const bool lines = StatusLine::kind_of_stderr() == StatusLine::Kind::lines;
  StatusLine line(lines ? StatusLine::Kind::lines : StatusLine::Kind::none, Clock::now());
  for (std::chrono::nanoseconds passed{0}; passed < time;) {
    const std::chrono::nanoseconds step =
        std::min<std::chrono::nanoseconds>(kAliveInterval, time - passed);
    pass(step);
    passed += step;
    if (passed == time) return;
    remote_.alive();
    const TimePoint now = Clock::now();
    if (!line.is_due(now)) continue;
    line.show(now, workload_.name + ": " + whole_seconds(passed) + " of " + whole_seconds(time));
  }
}

Mark LoadRun::mark() const {
  Mark mark;
  mark.time_ns = now_ns();
  for (const auto& counts : counts_) {
    mark.sent.push_back(counts->sent.load(std::memory_order_relaxed));
    mark.received.push_back(counts->received.load(std::memory_order_relaxed));
  }
  return mark;
}

/// The memory of the path's processes, once it no longer changes.
MemorySample settled_memory(pid_t path) {
  constexpr int kTries = 30;
  constexpr milliseconds kPause{100};
  MemorySample sample = sample_memory(process_tree(path));
  for (int i = 0; i < kTries && path != 0; ++i) {
    std::this_thread::sleep_for(kPause);
    const MemorySample next = sample_memory(process_tree(path));
    const bool same = next.pss_bytes == sample.pss_bytes && next.descriptors == sample.descriptors;
    sample = next;
    if (same) break;
  }
  return sample;
}

bool any_streams(const Workload& workload, Direction direction) {
  return std::any_of(workload.parts.begin(), workload.parts.end(), [&](const Part& part) {
    return part.kind == Kind::bulk &&
           (part.direction == direction || part.direction == Direction::both);
  });
}

json::object LoadRun::run() {
  std::size_t serving = 1;
  for (const Part& part : workload_.parts) serving = std::max(serving, threads(part));
  remote_.begin(serving);
  if (options_.verify_bytes > 0) {
    if (any_streams(workload_, Direction::up)) verify(true);
    if (any_streams(workload_, Direction::down)) verify(false);
  }
  const bool resting = workload_.parts.size() == 1 && workload_.parts[0].kind == Kind::idle;
  if (resting) {
    first_ = open_idle(kFirstConnections);
    fresh_ = settled_memory(options_.path);
  }
  parts_.resize(workload_.parts.size());
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    parts_[i].part = &workload_.parts[i];
    open(parts_[i]);
  }
  pass_alive(to_duration(options_.warmup_seconds));
  const ThreadSample served_before = remote_.threads();
  const ThreadSample loaded_before = sample_threads();
  there_before_ = remote_.mark();
  here_before_ = mark();
  watched_ = process_tree(options_.path);
  if (counter_) counter_->begin(watched_);
  cpu_before_ = sample_cpu(watched_);
  const std::uint64_t began = now_ns();
  control_.enter(Phase::measure);
  pass_alive(to_duration(options_.seconds));
  control_.enter(Phase::stop);
  if (counter_) calls_ = counter_->end();
  measured_ns_ = control_.stop_time() - began;
  cpu_after_ = sample_cpu(watched_);
  here_after_ = mark();
  there_after_ = remote_.mark();
  busiest_ = std::max(busiest_thread(loaded_before, sample_threads()),
                      busiest_thread(served_before, remote_.threads()));
  loaded_ = resting ? settled_memory(options_.path) : sample_memory(process_tree(options_.path));
  pipes_ = sample_pipes(watched_);
  finish();
  json::object metrics;
  json::object percentiles;
  report(metrics, percentiles);
  return {
      {"valid", true}, {"metrics", std::move(metrics)}, {"percentiles", std::move(percentiles)}};
}

// Ends every connection in order, and checks that all bytes have arrived.
void LoadRun::finish() {
  for (LoadPart& part : parts_) {
    for (std::thread& thread : part.threads) thread.join();
    part.threads.clear();
    exchange(part.idle);
    part.idle.clear();
    for (const auto& loop : part.loops) loop->stop();
  }
  first_.clear();
  there_end_ = remote_.stop();
  for (LoadPart& part : parts_) {
    for (const auto& loop : part.loops) finish_loop(*loop);
  }
  control_.check();
  compare_counts();
}

// Waits until the loop has finished; fails if nothing arrives for kStillTimeout.
void LoadRun::finish_loop(Loop& loop) const {
  std::uint64_t before = 0;
  auto moved = steady_clock::now();
  while (!loop.finished()) {
    pass(milliseconds(1));
    const Mark now = mark();
    const std::uint64_t arrived =
        std::accumulate(now.received.begin(), now.received.end(), std::uint64_t{0});
    if (std::exchange(before, arrived) != arrived) moved = steady_clock::now();
    if (steady_clock::now() - moved > kStillTimeout) {
      throw Failure("client: some connections did not end");
    }
  }
  loop.join();
}

void LoadRun::compare_counts() const {
  const auto compare = [](std::size_t number, const char* way, std::uint64_t sent,
                          std::uint64_t received) {
    if (sent == received) return;
    throw Failure("connection " + std::to_string(number) + " " + way + ": sent " +
                  std::to_string(sent) + " bytes, arrived " + std::to_string(received));
  };
  const Mark here = mark();
  for (std::size_t i = 0; i < there_end_.sent.size(); ++i) {
    compare(i, "up", here.sent.at(i), there_end_.received[i]);
    compare(i, "down", there_end_.sent[i], here.received.at(i));
  }
}

// --- Reporting ---

void LoadRun::report(json::object& metrics, json::object& percentiles) {
  for (const LoadPart& part : parts_) {
    const std::string prefix = parts_.size() > 1 ? part.part->name + '.' : "";
    if (part.part->kind == Kind::bulk) report_bulk(part, metrics, prefix);
    if (!part.results.empty() || !part.exchangers.empty()) {
      report_exchanges(part, metrics, percentiles, prefix);
    }
  }
  report_path(metrics);
}

void LoadRun::report_bulk(const LoadPart& part, json::object& metrics,
                          const std::string& prefix) const {
  // Each direction is measured by the clock of the receiving end.
  const auto seconds_between = [](const Mark& before, const Mark& after) {
    return static_cast<double>(after.time_ns - before.time_ns) / kNsPerSecond;
  };
  const double up_seconds = seconds_between(there_before_, there_after_);
  const double down_seconds = seconds_between(here_before_, here_after_);
  double rate = 0;
  std::uint64_t total = 0;
  std::vector<std::uint64_t> each;
  for (std::size_t i = part.first; i < part.first + part.part->connections; ++i) {
    const std::uint64_t up = there_after_.received.at(i) - there_before_.received.at(i);
    const std::uint64_t down = here_after_.received[i] - here_before_.received[i];
    rate += static_cast<double>(up) / up_seconds + static_cast<double>(down) / down_seconds;
    total += up + down;
    each.push_back(up + down);
  }
  if (total == 0) throw Failure("no byte arrived in the measured time");
  const auto [least, most] = std::minmax_element(each.begin(), each.end());
  const double fair = static_cast<double>(total) / static_cast<double>(each.size());
  metrics[prefix + "gib_per_s"] = rate / kGiB;
  metrics[prefix + "bytes"] = total;
  metrics[prefix + "least_share"] = static_cast<double>(*least) / fair;
  metrics[prefix + "most_share"] = static_cast<double>(*most) / fair;
}

void LoadRun::report_exchanges(const LoadPart& part, json::object& metrics,
                               json::object& percentiles, const std::string& prefix) const {
  ExchangeResults all;
  for (const auto& results : part.results) all.merge(*results);
  for (const auto& exchanger : part.exchangers) all.merge(exchanger->results());
  if (all.completed == 0) throw Failure("no exchange was completed in the measured time");
  const auto in_us = [&](double quantile) { return all.latency.quantile(quantile) / 1e3; };
  const bool call = part.part->kind == Kind::call;
  metrics[prefix + (call ? "connections_per_s" : "trips_per_s")] =
      static_cast<double>(all.completed) / (static_cast<double>(measured_ns_) / kNsPerSecond);
  metrics[prefix + "count"] = all.completed;
  metrics[prefix + "p50_us"] = in_us(0.5);
  metrics[prefix + "p99_us"] = in_us(0.99);
  metrics[prefix + "p999_us"] = in_us(0.999);
  metrics[prefix + "max_us"] = static_cast<double>(all.latency.max()) / 1e3;
  if (part.part->rate > 0) metrics[prefix + "unsent"] = all.unsent;
  json::array points;
  for (const double percentile : kPercentiles) {
    points.push_back(json::array{percentile, in_us(percentile / 100)});
  }
  percentiles[part.part->name] = std::move(points);
}

// The path's own CPU time and memory. With several parts, these cannot be attributed to a part.
void LoadRun::report_path(json::object& metrics) const {
  const auto used = [](std::uint64_t before, std::uint64_t after) {
    // The sum can shrink if a forwarder does not account for children that have exited.
    return after > before ? static_cast<double>(after - before) / kNsPerSecond : 0.0;
  };
  const double proxy = used(cpu_before_.watched, cpu_after_.watched);
  const double load = used(cpu_before_.self, cpu_after_.self);
  const double machine = used(cpu_before_.machine, cpu_after_.machine);
  metrics["seconds"] = seconds();
  metrics["load_cpus"] = load / seconds();
  metrics["machine_cpus"] = machine / seconds();
  metrics["ends_busiest_thread"] = busiest_;
  const auto add_each = [&](const char* who, double cpu) {
    if (parts_.size() != 1) return;
    const std::string key = std::string(who) + "_cpu_";
    // Divides rates, because CPU time and bytes are not sampled at exactly the same time.
    const bool call = parts_[0].part->kind == Kind::call;
    if (const json::value* rate = metrics.if_contains("gib_per_s")) {
      metrics[key + "s_per_gib"] = cpu / seconds() / rate->to_number<double>();
    } else if (const json::value* each =
                   metrics.if_contains(call ? "connections_per_s" : "trips_per_s")) {
      metrics[key + (call ? "us_per_connection" : "us_per_trip")] =
          cpu / seconds() * 1e6 / each->to_number<double>();
    }
  };
  add_each("machine", machine);
  if (options_.all_known || !remote_.on_this_machine()) {
    metrics["other_cpus"] = std::max(0.0, machine - proxy - load) / seconds();
  }
  if (watched_.empty()) return;
  add_each("proxy", proxy);
  if (calls_) {
    const Part& part = parts_[0].part[0];
    const double units =
        part.kind == Kind::bulk ? number(metrics.at("bytes")) / kGiB : number(metrics.at("count"));
    metrics[calls_key(part)] = static_cast<double>(*calls_) / units;
  }
  metrics["proxy_cpus"] = proxy / seconds();
  metrics["proxy_schedstat_cpus"] =
      (static_cast<double>(cpu_after_.schedstat) - static_cast<double>(cpu_before_.schedstat)) /
      kNsPerSecond / seconds();
  metrics["proxy_memory_mib"] = static_cast<double>(loaded_.pss_bytes) / 1024 / 1024;
  metrics["pipes"] = pipes_.pipes;
  metrics["pipe_bytes"] = pipes_.largest_bytes;
  if (parts_.size() == 1 && parts_[0].part->kind == Kind::idle) {
    metrics["memory_bytes_per_connection"] =
        static_cast<double>(loaded_.pss_bytes - fresh_.pss_bytes) /
        static_cast<double>(parts_[0].part->connections);
    metrics["pipe_ends"] = loaded_.pipe_ends;
  }
}

}  // namespace

json::object run_load(const LoadOptions& options, const Workload& workload) {
  LoadRun run(options, workload);
  try {
    return run.run();
  } catch (const Failure&) {
    if (const std::string complaint = run.complaint(); !complaint.empty()) throw Failure(complaint);
    throw;
  }
}

}  // namespace sluice::bench
