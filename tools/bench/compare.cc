#include "tools/bench/compare.h"

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "tools/bench/document.h"
#include "tools/bench/interrupt.h"
#include "tools/bench/load.h"
#include "tools/bench/metric.h"
#include "tools/bench/names.h"
#include "tools/bench/sample.h"
#include "tools/bench/server.h"
#include "tools/common/command_line.h"
#include "tools/common/figures.h"

namespace sluice::bench {
namespace {

using std::chrono::steady_clock;

// A typical run's time besides warm-up and measurement.
constexpr double kOverheadSeconds = 0.3;
// What a run's time limit adds to warm-up, measurement and verification. All waits inside a run are
// shorter.
constexpr double kRunGraceSeconds = 180;
// The lowest verification rate, per second, that the time limit allows for.
constexpr double kLeastVerifyRateBytes = 1 << 20;
// The longest measured time of a run that counts system calls.
constexpr double kMostCountedSeconds = 1;
// The time that a run has to end after SIGTERM.
constexpr std::chrono::seconds kChildEndTimeout{10};

// Whether each run can have its own network namespace: as root, unless a container forbids it.
bool own_network() {
  static const bool possible = [] {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(::unshare(CLONE_NEWNET) == 0 ? 0 : 1);
    int status = 1;
    while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return child > 0 && status == 0;
  }();
  return possible;
}

// Moves this process, and the processes that it starts later, into an empty network namespace. The
// namespace ends with the last of them.
void enter_own_network() {
  if (::unshare(CLONE_NEWNET) != 0) fail_errno("unshare");
  const OwnedFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq loopback{};
  std::strncpy(loopback.ifr_name, "lo", sizeof loopback.ifr_name - 1);
  loopback.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(any.get(), SIOCSIFFLAGS, &loopback) != 0) fail_errno("bring up loopback");
}

// A directory for the files of one run. The run's process removes it on an orderly end, so that
// nothing is left if this program is killed. This program removes it after the run in any case.
class RunDirectory {
 public:
  RunDirectory(const Contender& contender, const std::string& where) {
    if (contender.direct()) return;
    std::string name = std::filesystem::path(where) / "sluice-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) fail_errno("mkdtemp " + name);
    path_ = name;
  }
  ~RunDirectory() { remove(); }
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  void remove() const {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

 private:
  std::string path_;
};

// Adds how evenly a path has spread its connections over several servers.
void add_server_shares(json::object& metrics, const std::vector<std::uint64_t>& connections) {
  if (connections.size() == 1) return;
  const auto [least, most] = std::minmax_element(connections.begin(), connections.end());
  const double fair = static_cast<double>(std::accumulate(connections.begin(), connections.end(),
                                                          std::uint64_t{0})) /
                      static_cast<double>(connections.size());
  metrics["least_server_share"] = static_cast<double>(*least) / fair;
  metrics["most_server_share"] = static_cast<double>(*most) / fair;
}

// Performs one run. Call it in the run's own process.
json::object run_here(const CompareOptions& options, const Contender& contender,
                      const Workload& workload, const std::string& directory) {
  try {
    if (own_network()) enter_own_network();
    std::vector<OwnedFd> listeners;
    std::vector<std::uint16_t> ports;
    for (std::size_t i = 0; i < options.servers; ++i) {
      Result<OwnedFd> listener = listen_at(loopback(0));
      if (listener.has_error()) throw Failure(listener.error().to_string());
      ports.push_back(local_port(listener->get()));
      listeners.push_back(std::move(*listener));
    }
    Forwarder forwarder(contender, ports, directory);
    const Server server(std::move(listeners));
    LoadOptions load;
    load.to = loopback(forwarder.port());
    load.seconds = options.seconds;
    load.warmup_seconds = options.warmup_seconds;
    load.threads = options.threads;
    load.verify_bytes = options.verify_bytes;
    load.verify_all = options.verify_all;
    load.opening = {options.names, contender.proxy_header};
    load.path = forwarder.pid();
    load.all_known = true;
    load.call_tool = options.call_tool;
    try {
      json::object result = run_load(load, workload);
      json::object& metrics = result.at("metrics").as_object();
      add_server_shares(metrics, server.connections());
      if (const std::optional<double> lost = forwarder.end_and_tell_lost(contender)) {
        metrics["dump_lost_percent"] = *lost;
      }
      if (contender.whole_mirror && forwarder.complained_of_mirror()) {
        throw Failure("the mirror did not get everything");
      }
      return result;
    } catch (const Failure& failure) {
      return {{"valid", false}, {"reason", failure.what() + forwarder.last_words()}};
    }
  } catch (const std::exception& error) {
    return {{"valid", false}, {"reason", error.what()}};
  }
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// Reads a child's output until the child closes it, the time limit passes, or the program is
// interrupted.
std::string read_child(int fd, double most_seconds) {
  std::string text;
  const auto deadline = steady_clock::now() +
                        std::chrono::milliseconds(static_cast<std::int64_t>(most_seconds * 1000));
  while (!interrupted()) {
    const bool is_late = steady_clock::now() > deadline;
    pollfd polled{fd, POLLIN, 0};
    constexpr int kTickMs = 100;
    if (::poll(&polled, 1, is_late ? 0 : kTickMs) <= 0) {
      if (is_late) break;
      continue;
    }
    std::array<char, 65536> chunk{};
    const ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got <= 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return text;
}

// The processes that a run's cleanup must spare: children that this process had before its first
// run, with their descendants. A shell that replaced itself with this program can leave such
// background processes.
std::set<pid_t> spared_processes(const std::vector<pid_t>& children) {
  std::set<pid_t> spared;
  for (const pid_t child : children) {
    for (const pid_t each : process_tree(child)) spared.insert(each);
  }
  return spared;
}

// Waits for a run's process and returns its exit status. Kills it after kChildEndTimeout, and kills
// whatever it leaves behind.
int reap(pid_t child, const std::vector<pid_t>& earlier_children) {
  int status = 0;
  const auto deadline = steady_clock::now() + kChildEndTimeout;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (steady_clock::now() > deadline) ::kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  // Orphans of the run are now children of this process (PR_SET_CHILD_SUBREAPER).
  const std::set<pid_t> spared = spared_processes(earlier_children);
  for (const pid_t orphan : process_tree(::getpid())) {
    if (orphan != ::getpid() && !spared.contains(orphan)) ::kill(orphan, SIGKILL);
  }
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  return status;
}

// Performs one run in a child process, so that no run inherits another's memory, threads,
// descriptors or network.
json::object run_in_child(const CompareOptions& options, const Contender& contender,
                          const Workload& workload, const std::vector<pid_t>& earlier_children) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail_errno("pipe");
  OwnedFd read_end(ends[0]);
  OwnedFd write_end(ends[1]);
  const RunDirectory directory(contender, options.directory);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) fail_errno("fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::raise(SIGTERM);
    read_end.reset();
    const json::object said = run_here(options, contender, workload, directory.path());
    directory.remove();
    write_all(write_end.get(), json::serialize(said));
    ::_exit(0);
  }
  write_end.reset();
  const std::string text = read_child(read_end.get(), most_seconds_of_run(options));
  boost::system::error_code wrong;
  json::value said = json::parse(text, wrong);
  // On SIGTERM the run's process ends its forwarder.
  if (text.empty()) ::kill(child, SIGTERM);
  const int status = reap(child, earlier_children);
  if (wrong || !said.is_object()) {
    const bool crashed = WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL;
    said = json::object{{"valid", false},
                        {"reason", crashed ? "the run's process crashed" : "the run did not end"}};
  }
  return said.as_object();
}

// Prints one line per run to stderr. On a terminal it first shows the run that is starting, then
// replaces that line.
class Progress {
 public:
  explicit Progress(std::size_t runs) : runs_(runs), began_(steady_clock::now()) {}

  void begin(const Workload& workload, const Contender& contender, std::size_t round) {
    what_ = workload.name + ", round " + std::to_string(round) + ", " + contender.name;
    if (!terminal_) return;
    std::cerr << "\r\x1b[K" << done_ + 1 << '/' << runs_ << "  " << what_ << left() << std::flush;
  }

  void end(const json::object& run, const Metric& first) {
    ++done_;
    if (terminal_) std::cerr << "\r\x1b[K";
    if (!run.at("valid").as_bool()) {
      std::cerr << "VOID: " << what_ << ": " << run.at("reason").as_string().c_str() << '\n';
      return;
    }
    const json::value* value = run.at("metrics").as_object().if_contains(first.key);
    std::array<char, 64> figure{};
    if (value != nullptr) {
      std::snprintf(figure.data(), figure.size(), "%.*f", first.digits, number(*value));
    }
    std::cerr << done_ << '/' << runs_ << "  " << what_ << ": "
              << (value != nullptr ? std::string(figure.data()) + ' ' + first.title : "done")
              << '\n';
  }

 private:
  [[nodiscard]] std::string left() const {
    if (done_ == 0) return "";
    const std::chrono::duration<double> passed = steady_clock::now() - began_;
    const double all = static_cast<double>(runs_ - done_) / static_cast<double>(done_);
    return "  (" + std::to_string(static_cast<int>(passed.count() * all)) + " s left)";
  }

  std::size_t runs_;
  std::size_t done_ = 0;
  std::string what_;
  steady_clock::time_point began_;
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
};

std::vector<std::string> names_of(const std::vector<Contender>& contenders) {
  std::vector<std::string> names;
  for (const Contender& contender : contenders) names.push_back(contender.name);
  return names;
}

json::array describe(const std::vector<Contender>& contenders) {
  json::array described;
  for (const Contender& contender : contenders) {
    std::string command;
    for (const std::string& word : contender.command) {
      command += (command.empty() ? "" : " ") + shell_word(word);
    }
    described.push_back(json::object{{"name", contender.name},
                                     {"version", contender.version},
                                     {"command", command},
                                     {"config", contender.config}});
  }
  return described;
}

// One more run of each forwarder, in which its system calls are counted and nothing is timed.
json::array count_calls(CompareOptions options, const Workload& workload,
                        const std::vector<pid_t>& earlier_children) {
  options.seconds = std::min(options.seconds, kMostCountedSeconds);
  options.verify_bytes = 0;
  json::array counted;
  for (const Contender& contender : options.contenders) {
    if (contender.direct() || contender.name == kControlName || interrupted()) continue;
    json::object run = run_in_child(options, contender, workload, earlier_children);
    if (interrupted()) break;
    json::object entry{{"contender", contender.name}, {"valid", run.at("valid")}};
    if (run.at("valid").as_bool()) {
      const std::string key = calls_key(workload.parts[0]);
      entry["metrics"] = json::object{{key, run.at("metrics").at(key)}};
    } else {
      entry["reason"] = run.at("reason");
    }
    counted.push_back(std::move(entry));
  }
  return counted;
}

bool moves_much(const Workload& workload) {
  constexpr std::size_t kLargeMessageBytes = 4 << 10;
  return std::any_of(workload.parts.begin(), workload.parts.end(), [](const Part& part) {
    return part.kind == Kind::bulk ||
           (part.kind == Kind::ping && part.size_bytes >= kLargeMessageBytes);
  });
}

}  // namespace

std::uint64_t most_recorded_bytes(const CompareOptions& options) {
  constexpr double kMuchASecond = 2.0 * (1 << 30);
  constexpr double kLittleASecond = 128 << 20;
  // A worker's current segment, and the next one, which is preallocated.
  constexpr std::uint64_t kAheadBytes = 2 * (std::uint64_t{256} << 20);
  const bool records = std::any_of(options.contenders.begin(), options.contenders.end(),
                                   [](const Contender& each) { return each.records; });
  if (!records) return 0;
  const bool much = std::any_of(options.workloads.begin(), options.workloads.end(), moves_much);
  return static_cast<std::uint64_t>((options.seconds + options.warmup_seconds) *
                                    (much ? kMuchASecond : kLittleASecond)) +
         2 * options.verify_bytes + options.workers * kAheadBytes;
}

Result<> check_space(const CompareOptions& options) {
  const std::uint64_t needed = most_recorded_bytes(options);
  if (needed == 0) return {};
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(options.directory, error);
  if (error) return Error{error.value(), "statvfs " + options.directory};
  if (space.available >= needed) return {};
  std::string names;
  for (const Contender& each : options.contenders) {
    if (each.records) names += (names.empty() ? "" : ", ") + each.name;
  }
  return Error{0, options.directory + ": " + as_bytes(static_cast<double>(space.available)) +
                      " are free, and a run that records (" + names + ") may need " +
                      as_bytes(static_cast<double>(needed)) +
                      ": name another directory with --dir, or other --peers"};
}

double most_seconds_of_run(const CompareOptions& options) {
  constexpr double kWays = 2;
  return options.seconds + options.warmup_seconds + kRunGraceSeconds +
         kWays * static_cast<double>(options.verify_bytes) / kLeastVerifyRateBytes;
}

double estimated_seconds(const CompareOptions& options) {
  const auto runs =
      static_cast<double>(options.workloads.size() * options.rounds * options.contenders.size());
  const double seconds = runs * (options.seconds + options.warmup_seconds + kOverheadSeconds);
  if (options.call_tool == CallTool::none) return seconds;
  const auto counted = static_cast<double>(options.workloads.size() * options.contenders.size());
  return seconds + counted * (std::min(options.seconds, kMostCountedSeconds) +
                              options.warmup_seconds + kOverheadSeconds);
}

json::object compare(const CompareOptions& options) {
  // The first entry is this process itself.
  std::vector<pid_t> earlier_children = process_tree(::getpid());
  earlier_children.erase(earlier_children.begin());
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  json::object document = new_document(options.command);
  document["settings"] = {{"rounds", options.rounds},
                          {"seconds", options.seconds},
                          {"warmup_seconds", options.warmup_seconds},
                          {"verify_bytes", options.verify_bytes},
                          {"verify_all", options.verify_all},
                          {"threads", options.threads},
                          {"workers", options.workers},
                          {"servers", options.servers},
                          {"names", options.names},
                          {"network", own_network() ? "own" : "shared"}};
  document["machine"].as_object()["filesystem"] = filesystem_of(options.directory);
  document["baseline"] = options.baseline;
  document["contenders"] = describe(options.contenders);
  document["interrupted"] = false;
  json::array& workloads = document["workloads"].as_array();
  CompareOptions measured = options;
  measured.call_tool = CallTool::none;
  const bool calls = options.call_tool != CallTool::none;
  if (calls)
    document["settings"].as_object()["syscalls"] =
        std::string("counted by ") + name_of(options.call_tool);
  if (!options.no_calls.empty()) {
    document["settings"].as_object()["syscalls"] = "not counted: " + options.no_calls;
  }
  Progress progress(options.workloads.size() * options.rounds * options.contenders.size());
  for (const Workload& workload : options.workloads) {
    json::object entry = new_workload(workload, true, calls);
    const Metric first = metrics_of(workload, true).front();
    for (std::size_t round = 1; round <= options.rounds && !interrupted(); ++round) {
      for (const Contender& contender : options.contenders) {
        progress.begin(workload, contender, round);
        json::object run = run_in_child(measured, contender, workload, earlier_children);
        if (interrupted()) break;
        progress.end(run, first);
        run["contender"] = contender.name;
        run["round"] = round;
        entry["runs"].as_array().push_back(std::move(run));
      }
    }
    if (calls && counts_calls(workload)) {
      entry["syscalls"] = count_calls(options, workload, earlier_children);
    }
    summarize(entry, names_of(options.contenders), options.baseline);
    if (!entry["runs"].as_array().empty()) workloads.push_back(std::move(entry));
    if (interrupted()) {
      document["interrupted"] = true;
      break;
    }
  }
  return document;
}

}  // namespace sluice::bench
