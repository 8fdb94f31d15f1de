// The load program: both ends of what is forwarded, in one process. See usage() below.

#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string_view>

#include "tests/perf/net.h"
#include "tests/perf/workloads.h"

namespace sluice::perf {

void Control::fail(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (reason_.empty()) reason_ = reason;
  failed_ = true;
  phase_ = Phase::stop;
}

void Control::check() {
  const std::lock_guard lock(mutex_);
  if (failed_) throw Failure(reason_);
}

Crew::~Crew() {
  // Reached with threads only when something threw: nobody would tell them to stop.
  if (!threads_.empty()) control_.fail("ended early");
  join();
}

void Crew::start(std::function<void()> work) {
  threads_.emplace_back([this, work = std::move(work)] {
    try {
      work();
    } catch (const std::exception& error) {
      control_.fail(error.what());
    }
  });
}

void Crew::join() {
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

std::pair<CpuSample, CpuSample> measure(Control& control, const Options& options,
                                        const std::function<void()>& mark) {
  const auto pass = [&](std::chrono::milliseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    constexpr std::chrono::milliseconds kStep{100};
    for (auto now = end - time; now < end; now = std::chrono::steady_clock::now()) {
      control.check();
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - now);
      std::this_thread::sleep_for(std::min(left, kStep));
    }
    control.check();
  };
  pass(options.warmup);
  const CpuSample before = sample_cpu(options.watched);
  if (mark) mark();
  control.enter(Phase::measure);
  pass(options.duration);
  control.enter(Phase::stop);
  if (mark) mark();
  return {before, sample_cpu(options.watched)};
}

std::vector<char> random_bytes(std::size_t size) {
  std::vector<char> bytes(size);
  std::uint64_t state = 0x9e3779b97f4a7c15U;
  std::size_t at = 0;
  while (at < size) {
    // xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators".
    state ^= state >> 12U;
    state ^= state << 25U;
    state ^= state >> 27U;
    const std::uint64_t word = state * 0x2545f4914f6cdd1dU;
    const std::size_t part = std::min(sizeof word, size - at);
    std::memcpy(bytes.data() + at, &word, part);
    at += part;
  }
  return bytes;
}

namespace {

constexpr const char* kUsage =
    R"(usage: perf-load bulk|rr|crr|idle [--serve PORT] [--to PORT] [options]

Opens connections to 127.0.0.1:TO and answers them on 127.0.0.1:SERVE, where the forwarder under
test connects to; without --to directly. Prints one JSON object; exit 1 and "ok": false if a
connection failed or a byte was wrong.

  bulk  streams one way over N connections: sendfile to recv(MSG_TRUNC), counts compared at the
        end; beforehand one stream of --verify MiB is compared byte by byte
  rr    N connections ping-pong messages of SIZE bytes, closed loop
  crr   N connections at a time, a thread each: connect, one byte there and back, close
  idle  N connections exchange a byte and rest; the watched processes' memory before and then

  --seconds S          measured time, default 3        --warmup S   before it, default 0.3
  --connections N      default 1                       --size BYTES of a message, default 1
  --threads N          of the clients in bulk (default: one a connection, at most 8) and rr (1)
  --backend-threads N  of the backend, likewise; crr 1
  --direction up|down  of bulk, default up             --verify MIB  default 64
  --closer client|backend  who closes first in crr, default client
  --idle-seconds S     rest before memory is read, 1   --watch PID   measure it; may be repeated
)";

struct Usage {
  std::string reason;
};

double to_number(std::string_view name, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0 || value > 1e12) {
    throw Usage{std::string(name) + ": expected a number, got '" + std::string(text) + "'"};
  }
  return value;
}

std::size_t to_count(std::string_view name, std::string_view text, double least, double most) {
  const double value = to_number(name, text);
  if (value < least || value > most || value != std::floor(value)) {
    throw Usage{std::string(name) + ": '" + std::string(text) + "' is out of range"};
  }
  return static_cast<std::size_t>(value);
}

std::chrono::milliseconds to_time(std::string_view name, std::string_view text) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(to_number(name, text) * 1000));
}

bool is_second(std::string_view name, std::string_view text, const char* first,
               const char* second) {
  if (text != first && text != second) {
    throw Usage{std::string(name) + ": expected " + first + " or " + second};
  }
  return text == second;
}

void apply(Options& options, std::string_view name, std::string_view value) {
  if (name == "--serve") {
    options.serve = static_cast<std::uint16_t>(to_count(name, value, 0, 65535));
  } else if (name == "--to") {
    options.to = static_cast<std::uint16_t>(to_count(name, value, 0, 65535));
  } else if (name == "--seconds") {
    options.duration = to_time(name, value);
  } else if (name == "--warmup") {
    options.warmup = to_time(name, value);
  } else if (name == "--idle-seconds") {
    options.idle = to_time(name, value);
  } else if (name == "--connections") {
    options.connections = to_count(name, value, 1, 100'000);
  } else if (name == "--size") {
    options.size_bytes = to_count(name, value, 1, 1 << 30);
  } else if (name == "--threads") {
    options.threads = to_count(name, value, 1, 256);
  } else if (name == "--backend-threads") {
    options.backend_threads = to_count(name, value, 1, 256);
  } else if (name == "--verify") {
    options.verify_bytes = to_count(name, value, 1, 4096) << 20U;
  } else if (name == "--direction") {
    options.down = is_second(name, value, "up", "down");
  } else if (name == "--closer") {
    options.backend_closes = is_second(name, value, "client", "backend");
  } else if (name == "--watch") {
    options.watched.push_back(static_cast<pid_t>(to_count(name, value, 1, 1 << 22)));
  } else {
    throw Usage{"unknown option " + std::string(name)};
  }
}

Options parse(const std::vector<std::string_view>& arguments) {
  if (arguments.empty()) throw Usage{"no workload named"};
  Options options;
  options.workload = arguments[0];
  for (std::size_t i = 1; i < arguments.size(); i += 2) {
    if (i + 1 == arguments.size()) throw Usage{std::string(arguments[i]) + ": value missing"};
    apply(options, arguments[i], arguments[i + 1]);
  }
  return options;
}

// Every wait of a run may hang with the forwarder; one alarm bounds them all.
void bound_in_time(const Options& options) {
  constexpr unsigned kSlackSeconds = 40;
  std::signal(SIGALRM, [](int) {
    constexpr char kText[] = "{\"ok\": false, \"reason\": \"the run hung: time is up\"}\n";
    const auto written = ::write(STDOUT_FILENO, kText, sizeof kText - 1);
    ::_exit(written > 0 ? 1 : 2);
  });
  const auto planned = options.duration + options.warmup + options.idle;
  ::alarm(static_cast<unsigned>(planned.count() / 1000) + kSlackSeconds);
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void run(const Options& options, Json& json) {
  json.add("workload", options.workload).add("connections", std::uint64_t{options.connections});
  if (options.workload == "bulk") return run_bulk(options, json);
  if (options.workload == "rr") return run_rr(options, json);
  if (options.workload == "crr") return run_crr(options, json);
  if (options.workload == "idle") return run_idle(options, json);
  throw Usage{"unknown workload " + options.workload};
}

}  // namespace
}  // namespace sluice::perf

int main(int argc, char** argv) {
  using namespace sluice::perf;
  try {
    const Options options = parse({argv + 1, argv + argc});
    std::signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    bound_in_time(options);
    Json json;
    try {
      run(options, json);
      json.add("ok", true);
    } catch (const std::exception& error) {
      json.add("ok", false).add("reason", error.what());
      std::puts(json.str().c_str());
      return 1;
    }
    std::puts(json.str().c_str());
    return 0;
  } catch (const Usage& usage) {
    std::fprintf(stderr, "perf-load: %s\n%s", usage.reason.c_str(), kUsage);
    return 2;
  }
}
