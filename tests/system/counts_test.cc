// The system calls and allocations that the daemon makes for each trip, connection and GiB. These
// counts are the same on every machine, so they can have bounds, unlike times.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/settings.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

constexpr double kMiB = 1 << 20;
constexpr double kGiB = 1 << 30;

/// The number of connections in workloads with several.
constexpr std::size_t kCrowd = 32;

class CountsTest;

/// What one unit may cost.
struct Bounds {
  double calls_uring = 0;
  double calls_epoll = 0;
  double allocations_uring = 0;
  double allocations_epoll = 0;
};

/// Work that is done few times and many times. The difference gives the cost of each.
struct Workload {
  std::string name;
  std::string unit;
  double per_unit;  ///< steps of `run` in one unit
  int few;
  int many;
  void (*run)(CountsTest& test, int count);
  std::vector<std::string> options;  ///< the daemon's
  Bounds bounds;
};
void PrintTo(const Workload& workload, std::ostream* out) { *out << workload.name; }

/// The counter of tests/support/count_allocations.cc.
class AllocationCount {
 public:
  explicit AllocationCount(const std::string& path)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    if (::ftruncate(fd_.get(), sizeof(std::uint64_t)) != 0)
      throw std::system_error(errno, std::generic_category());
  }
  [[nodiscard]] std::uint64_t read() const {
    std::uint64_t count = 0;
    EXPECT_EQ(::pread(fd_.get(), &count, sizeof count, 0), static_cast<ssize_t>(sizeof count));
    return count;
  }

 private:
  OwnedFd fd_;
};

/// System calls by name.
using Calls = std::map<std::string, std::int64_t>;

class CountsTest : public testing::TestWithParam<std::tuple<std::string, Workload>> {
 public:
  [[nodiscard]] Daemon& daemon() { return *daemon_; }
  /// True once all its threads are stopped.
  [[nodiscard]] bool stop_daemon();
  [[nodiscard]] Forwarded forward_one() { return forward(daemon_->port(), upstream_.fd.get()); }

 protected:
  void SetUp() override;
  [[nodiscard]] const std::string& engine() const { return std::get<0>(GetParam()); }
  [[nodiscard]] const Workload& workload() const { return std::get<1>(GetParam()); }
  void start(std::vector<std::string> before, const DaemonOptions& options);
  /// All system calls of a daemon that does the work `count` times.
  [[nodiscard]] Calls calls_of(int count);
  [[nodiscard]] double allocations_of(int count);
  void expect_within(double bound, std::string_view what,
                     const std::function<double(int)>& cost_of);

  TempDir folder_;
  Listener upstream_;
  std::unique_ptr<Daemon> mirror_;
  std::unique_ptr<Daemon> daemon_;
  int directories_ = 0;
};

// --- The work

/// Sends a byte on each connection, and expects it at the other end.
void pass_on(CountsTest& test, const std::vector<Forwarded>& pairs, bool to_upstream) {
  // All bytes are there before the daemon sees one.
  if (pairs.size() > 1) {
    ASSERT_TRUE(test.stop_daemon());
  }
  for (const Forwarded& pair : pairs) {
    ASSERT_TRUE(send_all(to_upstream ? pair.client.get() : pair.upstream.get(), "?"));
  }
  if (pairs.size() > 1) test.daemon().process().signal(SIGCONT);
  for (const Forwarded& pair : pairs) {
    ASSERT_EQ(receive_text(to_upstream ? pair.upstream.get() : pair.client.get(), 1), "?");
  }
}

void exchange(CountsTest& test, std::size_t connections, int count) {
  std::vector<Forwarded> pairs;
  for (std::size_t i = 0; i < connections; ++i) pairs.push_back(test.forward_one());
  for (int i = 0; i < count; ++i) {
    ASSERT_NO_FATAL_FAILURE(pass_on(test, pairs, true));
    ASSERT_NO_FATAL_FAILURE(pass_on(test, pairs, false));
  }
}

void trips(CountsTest& test, int count) { exchange(test, 1, count); }
void crowded_trips(CountsTest& test, int count) { exchange(test, kCrowd, count); }

/// The client closes first, as is usual.
void connections(CountsTest& test, int count) {
  for (int i = 0; i < count; ++i) {
    std::vector<Forwarded> pair;
    pair.push_back(test.forward_one());
    ASSERT_NO_FATAL_FAILURE(pass_on(test, pair, true));
    ASSERT_NO_FATAL_FAILURE(pass_on(test, pair, false));
    pair[0].client.reset();
    ASSERT_EQ(ending_of(pair[0].upstream.get()), Ending::eof);
  }
}

void megabytes(const OwnedFd& from, const OwnedFd& to, int count) {
  const auto size = static_cast<std::uint64_t>(count) << 20;
  ASSERT_EQ(transfer(from.get(), to.get(), Pattern(1), size), "");
}

void megabytes_up(CountsTest& test, int count) {
  const Forwarded pair = test.forward_one();
  megabytes(pair.client, pair.upstream, count);
}

void megabytes_down(CountsTest& test, int count) {
  const Forwarded pair = test.forward_one();
  megabytes(pair.upstream, pair.client, count);
}

constexpr std::uint64_t kFileBytes = std::uint64_t{64} << 20;

void files_down(CountsTest& test, int count) {
  for (int i = 0; i < count; ++i) {
    const OwnedFd client = connect_tcp(test.daemon().port());
    PatternChecker received{Pattern(1)};
    ASSERT_EQ(read_pattern(client.get(), received), Ending::eof);
    ASSERT_EQ(received.received_bytes(), kFileBytes);
  }
}

// Placeholders for names that are known only when a test runs.
constexpr std::string_view kUpstream = "UPSTREAM";
constexpr std::string_view kFileTarget = "file:FILE";
constexpr std::string_view kDirectory = "DIRECTORY";
constexpr std::string_view kMirror = "MIRROR";

/// The calls that so many connects need more where the kernel sets no options through a ring.
double direct_options(int connects) {
  static const bool through_the_ring = [] {
    utsname system{};
    ::uname(&system);
    int major = 0;
    int minor = 0;
    char dot = 0;
    std::istringstream(system.release) >> major >> dot >> minor;
    return std::pair(major, minor) >= std::pair(6, 7);
  }();
  return through_the_ring ? 0 : 2.0 * connects;
}

/// The bounds are the costs when they were set, plus their spread: some percent for trips and
/// connections. For bulk it is a fifth, because the cost depends on how many bytes a call finds.
std::vector<Workload> workloads() {
  const std::vector<std::string> plain{"--to", std::string(kUpstream)};
  const std::vector<std::string> file{"--to", std::string(kFileTarget)};
  const auto with = [&](std::string option, std::string_view value) {
    return std::vector<std::string>{"--to", std::string(kUpstream), std::move(option),
                                    std::string(value)};
  };
  const auto recorded = with("--capture", kDirectory);
  const auto mirrored = with("--mirror", kMirror);
  constexpr double kMiBs = kGiB / kMiB;
  constexpr double kFiles = kGiB / kFileBytes;
  return {
      {"Trips", "trip", 1, 100, 600, trips, plain, {2.1, 6.1, 0.5, 0.5}},
      {"CrowdedTrips", "trip", 1.0 / kCrowd, 10, 60, crowded_trips, plain, {0.35, 4.4, 0.5, 0.5}},
      {"Connections",
       "connection",
       1,
       20,
       220,
       connections,
       plain,
       {14.2 + direct_options(1), 28, 9, 9}},
      {"BulkUp", "GiB", kMiBs, 64, 320, megabytes_up, plain, {5'600, 12'000, 300, 300}},
      {"BulkDown", "GiB", kMiBs, 64, 320, megabytes_down, plain, {6'000, 12'000, 300, 300}},
      // Each wait for the client allocates. How often it is awaited depends on what else runs:
      // 1,300 a GiB on a quiet machine, 1,624 seen beside other tests.
      {"Files", "GiB", kFiles, 1, 5, files_down, file, {2'700, 4'200, 1'800, 1'800}},
      {"RecordedTrips", "trip", 1, 100, 600, trips, recorded, {2.1, 6.7, 0.5, 0.5}},
      {"RecordedConnections",
       "connection",
       1,
       20,
       220,
       connections,
       recorded,
       {15.9 + direct_options(1), 32, 21, 21}},
      {"RecordedBulk",
       "GiB",
       kMiBs,
       64,
       320,
       megabytes_up,
       recorded,
       {26'000, 38'000, 5'000, 5'000}},
      {"MirroredTrips", "trip", 1, 100, 600, trips, mirrored, {2.2, 6.7, 0.5, 0.5}},
      {"MirroredCrowdedTrips",
       "trip",
       1.0 / kCrowd,
       10,
       60,
       crowded_trips,
       mirrored,
       {0.4, 5.4, 1.5, 1.5}},
      {"MirroredConnections",
       "connection",
       1,
       20,
       220,
       connections,
       mirrored,
       {28 + direct_options(2), 46.5, 14.3, 15.3}},
      {"MirroredBulk",
       "GiB",
       kMiBs,
       64,
       320,
       megabytes_up,
       mirrored,
       {8'500, 14'000, 1'000, 1'600}},
  };
}

// --- Counting

void CountsTest::SetUp() {
  if (engine() == "uring" && !io_uring_available()) {
    GTEST_SKIP() << "the kernel refuses io_uring here";
  }
  upstream_ = listen_tcp();
  mirror_ = std::make_unique<Daemon>(
      std::vector<std::string>{"--listen", "127.0.0.1:0", "--to", "discard:"});
  const auto& options = workload().options;
  if (std::ranges::find(options, kFileTarget) != options.end()) {
    write_pattern_file(folder_.file("file"), Pattern(1), kFileBytes);
  }
}

bool CountsTest::stop_daemon() {
  daemon_->process().signal(SIGSTOP);
  const std::string threads = "/proc/" + std::to_string(daemon_->process().pid()) + "/task";
  return wait_until([&] {
    for (const auto& thread : std::filesystem::directory_iterator(threads)) {
      const std::string stat = read_text(thread.path() / "stat");
      const std::size_t state = stat.rfind(") ") + 2;
      if (state >= stat.size() || (stat[state] != 'T' && stat[state] != 't')) return false;
    }
    return true;
  });
}

/// Starts a daemon with one worker, as an argument of the command `before` if that is given.
void CountsTest::start(std::vector<std::string> before, const DaemonOptions& options) {
  const std::map<std::string_view, std::string> names{
      {kUpstream, loopback_address(upstream_.port)},
      {kFileTarget, "file:" + folder_.file("file")},
      {kDirectory, folder_.file("capture" + std::to_string(++directories_))},
      {kMirror, loopback_address(mirror_->port())},
  };
  for (const char* word : {"--listen", "127.0.0.1:0", "--workers", "1", "--engine"}) {
    before.emplace_back(word);
  }
  before.push_back(engine());
  for (const std::string& option : workload().options) {
    const auto name = names.find(option);
    before.push_back(name == names.end() ? option : name->second);
  }
  daemon_ = std::make_unique<Daemon>(std::move(before), options);
}

/// Reads the table of `strace -c`; nothing until it is complete.
std::optional<Calls> read_summary(const std::string& path) {
  std::istringstream lines(read_text(path));
  Calls calls;
  for (std::string line; std::getline(lines, line);) {
    // The columns: share of the time, seconds, microseconds a call, calls, errors if any, the name.
    std::istringstream words(line);
    double time = 0;
    std::int64_t count = 0;
    if (!(words >> time >> time >> time >> count)) continue;
    std::string name;
    for (std::string word; words >> word;) name = word;
    if (name == "total") return calls;
    calls[name] += count;
  }
  return std::nullopt;
}

Calls CountsTest::calls_of(int count) {
  const std::string summary = folder_.file("summary");
  std::filesystem::remove(summary);
  DaemonOptions options;
  options.binary = "strace";
  // With -D the daemon is our child, not strace.
  start({"-D", "-f", "-c", "-o", summary, daemon_binary()}, options);
  workload().run(*this, count);
  EXPECT_EQ(daemon_->terminate(kProgramPatience), 0) << daemon_->log();
  std::optional<Calls> calls;
  EXPECT_TRUE(wait_until(
      [&] {
        calls = read_summary(summary);
        return calls.has_value();
      },
      kProgramPatience))
      << "strace has not written all";
  return calls.value_or(Calls{});
}

/// Allocations of a daemon that does the work `count` times, after a first round.
double CountsTest::allocations_of(int count) {
  const char* const library = std::getenv("SLUICE_COUNT_ALLOCATIONS");
  EXPECT_NE(library, nullptr) << "SLUICE_COUNT_ALLOCATIONS names what counts";
  const std::string path = folder_.file("allocations");
  const AllocationCount allocations(path);
  DaemonOptions counted;
  counted.process.environment = {"LD_PRELOAD=" + std::string(library == nullptr ? "" : library),
                                 "SLUICE_ALLOCATIONS=" + path};
  start({}, counted);
  workload().run(*this, workload().few);  // now it has what it keeps for later
  const std::uint64_t before = allocations.read();
  EXPECT_GT(before, 0U) << "nothing was counted";
  workload().run(*this, count);
  const std::uint64_t after = allocations.read();
  EXPECT_EQ(daemon_->terminate(), 0) << daemon_->log();
  return static_cast<double>(after - before);
}

/// Does the work few times and many times, until one costs at most `bound`. The lowest count of
/// several tries is used for both: on a busy machine the daemon waits more often. It is also a
/// matter of microseconds whether one connection's end and the next connection come in the same
/// turn.
void CountsTest::expect_within(double bound, std::string_view what,
                               const std::function<double(int)>& cost_of) {
  constexpr int kMostTries = 24;
  const Workload& work = workload();
  double few = std::numeric_limits<double>::infinity();
  double many = few;
  double each = few;
  for (int i = 0; i < kMostTries && !(each <= bound) && !HasFailure(); ++i) {
    few = std::min(few, cost_of(work.few));
    many = std::min(many, cost_of(work.many));
    each = (many - few) * work.per_unit / (work.many - work.few);
    std::cout << each << ' ' << what << " a " << work.unit << '\n';
  }
  EXPECT_LE(each, bound) << what << " a " << work.unit;
}

// --- The tests

TEST_P(CountsTest, SystemCalls) {
  SLUICE_NEEDS_STRACE();
  const Bounds& bounds = workload().bounds;
  Calls last;
  expect_within(engine() == "uring" ? bounds.calls_uring : bounds.calls_epoll, "system calls",
                [&](int count) {
                  last = calls_of(count);
                  double sum = 0;
                  for (const auto& [call, number] : last) sum += static_cast<double>(number);
                  return sum;
                });
  if (!HasFailure()) return;
  for (const auto& [call, number] : last) std::cout << number << ' ' << call << '\n';
}

TEST_P(CountsTest, Allocations) {
  if (sanitized()) GTEST_SKIP() << "a sanitizer's library wants to be the first";
  const Bounds& bounds = workload().bounds;
  expect_within(engine() == "uring" ? bounds.allocations_uring : bounds.allocations_epoll,
                "allocations", [this](int count) { return allocations_of(count); });
}

std::string name_of_work(const testing::TestParamInfo<CountsTest::ParamType>& info) {
  const auto& [engine, workload] = info.param;
  return workload.name + "_" + engine;
}

INSTANTIATE_TEST_SUITE_P(EveryWorkload, CountsTest,
                         testing::Combine(testing::Values("uring", "epoll"),
                                          testing::ValuesIn(workloads())),
                         name_of_work);

}  // namespace
}  // namespace sluice::test
