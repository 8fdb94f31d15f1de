// The real program: a load and a serving end with a path between them that does what paths should
// not, a comparison, its interruption, and bad arguments.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/settings.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/tools/bench/meddling_path.h"
#include "tools/common/json.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kLong{120};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) throw std::runtime_error(std::string(name) + " must be set");
  return value;
}

std::vector<std::string> bench(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), environment("SLUICE_BENCH"));
  return arguments;
}

/// `sluice-bench serve` on a port of its own.
class ServingEnd {
 public:
  ServingEnd() : process_(bench({"serve", "--listen", "127.0.0.1:0"})) {
    const auto line = process_.wait_for_output_line(std::regex("^listening on 127.0.0.1:\\d+$"));
    if (!line) throw std::runtime_error("it does not serve: " + process_.standard_error());
    port_ = static_cast<std::uint16_t>(std::stoi(line->substr(line->rfind(':') + 1)));
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] Process& process() { return process_; }

 private:
  Process process_;
  std::uint16_t port_ = 0;
};

struct Loaded {
  std::optional<int> status;
  std::string output;
  std::string error;
  json::object run;  ///< the first one
  [[nodiscard]] double metric(const char* key) const {
    return run.at("metrics").at(key).to_number<double>();
  }
  [[nodiscard]] bool valid() const { return run.at("valid").as_bool(); }
  [[nodiscard]] std::string reason() const { return std::string(run.at("reason").as_string()); }
};

Loaded load(std::uint16_t port, const std::string& workload,
            const std::vector<std::string>& more = {}, const char* time = "300ms") {
  const TempDir folder;
  const std::string file = folder.file("result.json");
  std::vector<std::string> arguments{"load",       "--to",   "127.0.0.1:" + std::to_string(port),
                                     "--workload", workload, "--time",
                                     time,         "--json", file};
  arguments.insert(arguments.end(), more.begin(), more.end());
  Process process(bench(arguments));
  Loaded loaded;
  loaded.status = process.wait(kLong);
  loaded.output = process.standard_output();
  loaded.error = process.standard_error();
  const std::string text = read_text(file);
  if (text.empty()) throw std::runtime_error("no result: " + loaded.error);
  loaded.run = json::parse(text).at("workloads").at(0).at("runs").at(0).as_object();
  return loaded;
}

// --- Trust ---

class EveryWorkload : public testing::TestWithParam<const char*> {};

TEST_P(EveryWorkload, OfAnHonestPathIsValid) {
  const ServingEnd serving;
  const MeddlingPath path(serving.port(), {});
  const Loaded loaded = load(path.port(), GetParam());
  EXPECT_EQ(loaded.status, 0) << loaded.error;
  EXPECT_TRUE(loaded.valid()) << loaded.reason();
  EXPECT_NE(loaded.output.find(GetParam()), std::string::npos) << loaded.output;
}

INSTANTIATE_TEST_SUITE_P(Names, EveryWorkload,
                         testing::Values("bulk1", "bulk2down", "bulk2both", "bulk2both-plain",
                                         "rr4", "rr2x100KiB", "rr4@200", "crr2", "crr2@50",
                                         "idle50", "elephants1mice2", "slow2", "mix"),
                         [](const auto& about) {
                           return std::regex_replace(std::string(about.param), std::regex("\\W"),
                                                     "_");
                         });

struct Bad {
  const char* workload;
  Meddling meddling;
  const char* reason;
  std::vector<std::string> more = {};
};

class BadPath : public testing::TestWithParam<Bad> {};

/// A byte that is wrong, or lost, voids the run, and says so.
TEST_P(BadPath, VoidsTheRun) {
  const ServingEnd serving;
  const MeddlingPath path(serving.port(), GetParam().meddling);
  std::vector<std::string> more = GetParam().more;
  more.insert(more.end(), {"--verify", "1MiB"});
  const Loaded loaded = load(path.port(), GetParam().workload, more);
  EXPECT_TRUE(path.meddled());
  EXPECT_EQ(loaded.status, 1);
  ASSERT_FALSE(loaded.valid());
  EXPECT_TRUE(std::regex_search(loaded.reason(), std::regex(GetParam().reason))) << loaded.reason();
  EXPECT_NE(loaded.output.find(loaded.reason()), std::string::npos) << loaded.output;
}

// Past what is always compared, only --verify-all sees every byte; what is lost there is seen in
// any case.
constexpr std::uint64_t kLate = 2 << 20;

INSTANTIATE_TEST_SUITE_P(
    Kinds, BadPath,
    testing::Values(
        Bad{"bulk1", {.corrupt_at = 500'000}, "wrong byte at offset 499960"},
        Bad{"bulk1down", {.corrupt_at = 500'000, .downward = true}, "wrong byte at offset"},
        Bad{"bulk1", {.corrupt_at = kLate}, "wrong byte at offset", {"--verify-all"}},
        Bad{"bulk1", {.drop_at = kLate}, "sent \\d+ bytes, arrived \\d+|wrong byte"},
        Bad{"bulk1", {.drop_at = 500'000}, "wrong byte at offset 499960"},
        Bad{"bulk1", {.cut_at = kLate}, "reset|roken pipe|closed|did not end|arrived"},
        Bad{"rr1", {.corrupt_at = 500}, "came back with a wrong byte"},
        Bad{"rr1x100KiB", {.corrupt_at = 150'000, .downward = true}, "wrong byte at offset"},
        Bad{"rr1", {.cut_at = 500}, "closed|ended|reset"}, Bad{"crr1", {.cut_at = 39}, "closed"}),
    [](const auto& about) { return "Number" + std::to_string(about.index); });

TEST(SlowPath, IsReportedAsSlow) {
  const ServingEnd serving;
  const MeddlingPath path(serving.port(), {.delay = milliseconds(5)});
  const Loaded slow = load(path.port(), "rr1");
  ASSERT_EQ(slow.status, 0) << slow.error;
  // Delayed there and back; no faster than that, and by a machine's leave not much slower.
  EXPECT_GE(slow.metric("p50_us"), 10'000);
  EXPECT_LE(slow.metric("trips_per_s"), 100);
  const Loaded fast = load(serving.port(), "rr1");
  EXPECT_LT(fast.metric("p50_us"), slow.metric("p50_us"));
}

/// A closed loop waits for a slow path and hides how late it was; an open loop counts from when
/// each exchange was due.
/// What stalls at the very end is seen as well.
TEST(SlowPath, ACutOfTheMeasuredTimeDoesNotHideAStall) {
  const ServingEnd serving;
  const MeddlingPath path(serving.port(), {.delay = milliseconds(300)});
  // The first exchange takes longer than is measured.
  const Loaded open = load(path.port(), "rr1@20", {"--warmup", "0"}, "700ms");
  ASSERT_EQ(open.status, 0) << open.error << open.output;
  EXPECT_GE(open.metric("max_us"), 500'000);
}

TEST(SlowPath, CannotHideByWaiting) {
  const ServingEnd serving;
  const MeddlingPath path(serving.port(), {.delay = milliseconds(5)});
  // 200 a second are asked for, and at most 100 can be had: the last one measured is late by about
  // half of the time.
  const Loaded open = load(path.port(), "rr1@200", {}, "1s");
  ASSERT_EQ(open.status, 0) << open.error;
  EXPECT_GE(open.metric("p99_us"), 300'000);
  EXPECT_GE(open.metric("unsent"), 50);
}

TEST(ServingEndTest, EndsInOrderAndServesSeveralLoads) {
  ServingEnd serving;
  EXPECT_EQ(load(serving.port(), "rr2").status, 0);
  EXPECT_EQ(load(serving.port(), "bulk2both").status, 0);
  serving.process().signal(SIGINT);
  EXPECT_EQ(serving.process().wait(kLong), 0);
}

TEST(ServingEndTest, StrangersDoNotDisturbIt) {
  const ServingEnd serving;
  std::vector<OwnedFd> strangers;
  for (const char* text :
       {"GET / HTTP/1.0\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "SLB1", ""}) {
    strangers.push_back(connect_tcp(serving.port()));
    EXPECT_TRUE(send_all(strangers.back().get(), text));
  }
  EXPECT_EQ(load(serving.port(), "rr2").status, 0);
}

TEST(LoadTest, WhereNobodyServesSaysSo) {
  const Listener nobody = listen_tcp();
  const std::uint16_t port = nobody.port;
  Process process(
      bench({"load", "--to", "127.0.0.1:" + std::to_string(free_port()), "--workload", "rr1"}));
  EXPECT_EQ(process.wait(kLong), 1);
  EXPECT_NE(process.standard_output().find("onnection refused"), std::string::npos)
      << process.standard_output();
  static_cast<void>(port);
}

// --- Comparisons ---

std::vector<std::string> comparison(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = bench(
      {"--peers", "direct,sluice", "--sluice", environment("SLUICE_BINARY"), "--time", "200ms"});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(ComparisonTest, RunsEveryContenderInTurn) {
  const TempDir folder;
  const std::string json_file = folder.file("result.json");
  const std::string markdown = folder.file("result.md");
  Process process(comparison({"--workloads", "bulk1,rr2,crr1,idle20", "--rounds", "2", "--json",
                              json_file, "--markdown", markdown}));
  ASSERT_EQ(process.wait(kLong), 0) << process.standard_error();
  const json::value document = json::parse(read_text(json_file));
  EXPECT_EQ(document.at("format"), "sluice-bench");
  EXPECT_EQ(document.at("version"), 1);
  ASSERT_EQ(document.at("workloads").as_array().size(), 4U);
  for (const json::value& workload : document.at("workloads").as_array()) {
    std::string order;
    for (const json::value& run : workload.at("runs").as_array()) {
      EXPECT_TRUE(run.at("valid").as_bool());
      order +=
          std::string(run.at("contender").as_string()) + json::serialize(run.at("round")) + ' ';
    }
    EXPECT_EQ(order, "direct1 sluice1 direct2 sluice2 ");
  }
  const json::value& idle = document.at("workloads").at(3).at("summary").at(1).at("metrics");
  EXPECT_NE(idle.as_object().if_contains("memory_bytes_per_connection"), nullptr);
  const json::value& bulk = document.at("workloads").at(0).at("summary").at(1);
  EXPECT_GT(bulk.at("metrics").at("proxy_cpu_s_per_gib").at("median").to_number<double>(), 0);
  EXPECT_NE(read_text(markdown).find("## bulk1"), std::string::npos);
  EXPECT_NE(process.standard_output().find("× direct"), std::string::npos);
}

TEST(ComparisonTest, SaysWhatChangedAgainstAnEarlierRun) {
  const TempDir folder;
  const std::string before = folder.file("before.json");
  Process first(comparison({"--workloads", "rr1", "--rounds", "3", "--json", before}));
  ASSERT_EQ(first.wait(kLong), 0) << first.standard_error();
  // An earlier run that was ten times as fast.
  json::value document = json::parse(read_text(before));
  for (json::value& run : document.at("workloads").at(0).at("runs").as_array()) {
    json::value& rate = run.at("metrics").at("trips_per_s");
    rate = rate.to_number<double>() * 10;
  }
  const std::string changed = folder.write("changed.json", json::serialize(document));
  Process second(comparison({"--workloads", "rr1", "--rounds", "3", "--baseline", changed}));
  ASSERT_EQ(second.wait(kLong), 0) << second.standard_error();
  EXPECT_TRUE(std::regex_search(second.standard_output(), std::regex("trips/s .*worse")))
      << second.standard_output();
}

TEST(ComparisonTest, VoidsWhatDoesNotStart) {
  Process process(bench({"--peers", "direct", "--contender", "broken=/bin/false {listen} {to}",
                         "--workloads", "rr1", "--rounds", "1", "--time", "100ms"}));
  EXPECT_EQ(process.wait(kLong), 1);
  EXPECT_TRUE(
      std::regex_search(process.standard_output(), std::regex("VOID: broken.*ended at once")))
      << process.standard_output();
}

// Processes whose command line begins with `word`.
std::set<std::string> processes_of(const std::string& word) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string line = read_text((entry.path() / "cmdline").string());
    if (line.starts_with(word)) found.insert(entry.path().filename());
  }
  return found;
}

TEST(ComparisonTest, InterruptedEndsItsChildrenAndPrintsWhatItHas) {
  const TempDir folder;
  const std::string copy = folder.file("sluice-of-this-test");
  // Its own command line begins with it; the comparison's only names it.
  const auto forwarders = [&] { return processes_of(copy + std::string(1, '\0')); };
  std::filesystem::copy_file(environment("SLUICE_BINARY"), copy);
  Process process(bench({"--peers", "sluice", "--sluice", copy, "--rounds", "50", "--time", "400ms",
                         "--workloads", "rr1,bulk1"}));
  // In the middle of a later round.
  ASSERT_TRUE(process.wait_for_error_line(std::regex("round 2, sluice: ")));
  ASSERT_TRUE(wait_until([&] { return !forwarders().empty(); }));
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(kLong), 130);
  EXPECT_TRUE(std::regex_search(process.standard_output(), std::regex("rr1: .*\\n.*\\nsluice")))
      << process.standard_output();
  EXPECT_TRUE(forwarders().empty()) << "a child is left";
}

// --- Bad arguments ---

TEST(BenchArgumentsTest, AreRefusedInOneLine) {
  const std::vector<std::vector<std::string>> wrong = {
      {"--rounds", "0"},
      {"--workloads", "bulk0"},
      {"--workloads", "nonsense"},
      {"--peers", "nobody"},
      {"--time", "5"},
      {"--time", "2h"},
      {"--size", "0B"},
      {"--contender", "x=true"},
      {"--unknown"},
      {"serve"},
      {"serve", "--listen", "nowhere"},
      {"load", "--to", "nowhere", "--workload", "rr1"},
      {"load", "--to", "discard:", "--workload", "rr1"},
      {"load", "--to", "127.0.0.1:1", "--workload", "rr1", "--path-pid", "99999999"},
      {"--contender", "direct=true {listen} {to}"},
      {"--peers", "direct,direct"},
      {"load", "--to", "x:1"},
      {"--relative-to", "nobody"},
      {"--workloads", "rr1@0"},
      {"--workloads", "rr1x1TiB"}};
  for (const auto& arguments : wrong) {
    Process process(bench(arguments));
    EXPECT_EQ(process.wait(kLong), 2) << testing::PrintToString(arguments);
    const std::string error = process.standard_error();
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
    EXPECT_EQ(error.find("sluice-bench: "), 0U) << error;
  }
}

TEST(BenchArgumentsTest, FilesThatAreNoResultsAreNamed) {
  const TempDir folder;
  const std::vector<std::string> files = {
      folder.file("missing"),
      folder.write("text", "no JSON"),
      folder.write("list", "[]"),
      folder.write("other", "{\"format\":\"other\"}"),
      folder.write("part", "{\"format\":\"sluice-bench\",\"version\":1}"),
      folder.write("later", "{\"format\":\"sluice-bench\",\"version\":2}")};
  for (const std::string& file : files) {
    Process process(bench({"report", "--from", file}));
    EXPECT_EQ(process.wait(kLong), 1) << file;
    const std::string error = process.standard_error();
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
    EXPECT_NE(error.find(file), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace sluice::test
