// The real program compares: all contenders in turn, with an earlier run, interrupted, and with
// impossible requests.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "iolib/json/json.h"
#include "tests/support/process.h"
#include "tests/support/regex.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/tools/bench/bench_program.h"

namespace sluice::test {
namespace {

// `time`: of each run. A run that moves no byte in it is void.
std::vector<std::string> comparison(const std::vector<std::string>& more,
                                    const std::string& time = "200ms") {
  std::vector<std::string> arguments =
      bench({"--peers", "direct,sluice", "--sluice", environment("SLUICE_BINARY"), "--time", time});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(ComparisonTest, RunsEveryContenderInTurn) {
  const TempDir folder;
  const std::string json_file = folder.file("result.json");
  const std::string markdown = folder.file("result.md");
  Process process(comparison({"--workloads", "bulk1,rr2,crr1,idle20", "--rounds", "2", "--json",
                              json_file, "--markdown", markdown},
                             "500ms"));
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
  for (const json::value& workload : document.at("workloads").as_array()) {
    for (const json::value& run : workload.at("runs").as_array()) {
      EXPECT_TRUE(run.at("metrics").as_object().contains("other_cpus"));
    }
  }
  const json::value& idle = document.at("workloads").at(3).at("summary").at(1).at("metrics");
  EXPECT_NE(idle.as_object().if_contains("memory_bytes_per_connection"), nullptr);
  const json::value& bulk = document.at("workloads").at(0).at("summary").at(1);
  EXPECT_GT(bulk.at("metrics").at("proxy_cpu_s_per_gib").at("median").to_number<double>(), 0);
  EXPECT_NE(read_text(markdown).find("## bulk1"), std::string::npos);
  const std::string output = process.standard_output();
  EXPECT_NE(output.find("× direct"), std::string::npos);
  EXPECT_LT(output.find("\nsluice: sluice "), output.find("\nbulk1: "))
      << "what is measured, and where, is said before the figures: " << output;
}

TEST(ComparisonTest, TheResultSaysWhichEndsARunHad) {
  const TempDir folder;
  const std::string file = folder.file("result.json");
  Process process(bench({"--peers", "direct", "--workloads", "rr1,crr1,rr1-threads,bulk1", "--ends",
                         "loop", "--rounds", "1", "--time", "100ms", "--warmup", "0", "--verify",
                         "0", "--json", file}));
  ASSERT_EQ(process.wait(kLong), 0) << process.standard_error();
  const json::value document = json::parse(read_text(file));
  std::string ends;
  for (const json::value& workload : document.at("workloads").as_array()) {
    ends += json::serialize(workload.at("name")) + json::serialize(workload.at("ends")) + ' ';
  }
  EXPECT_EQ(ends, "\"rr1\"\"loop\" \"crr1\"\"loop\" \"rr1-threads\"\"threads\" \"bulk1\"\"\" ");
  EXPECT_NE(process.standard_output().find("\nrr1-threads: "), std::string::npos);
}

TEST(ComparisonTest, SystemCallsAreCountedInOneMoreRun) {
  const TempDir folder;
  const std::string file = folder.file("result.json");
  Process process(comparison(
      {"--workloads", "rr1", "--syscalls", "--rounds", "1", "--warmup", "0", "--json", file}));
  ASSERT_EQ(process.wait(kLong), 0) << process.standard_error();
  const json::value document = json::parse(read_text(file));
  const std::string how(document.at("settings").at("syscalls").as_string());
  if (!how.starts_with("counted by ")) GTEST_SKIP() << how;
  const json::value& rr = document.at("workloads").at(0);
  EXPECT_EQ(rr.at("runs").as_array().size(), 2U);
  const json::value& counted = rr.at("syscalls").at(0);
  EXPECT_EQ(counted.at("contender"), "sluice") << "the direct path has no forwarder";
  const double calls = counted.at("metrics").at("proxy_syscalls_per_trip").to_number<double>();
  // A forwarder waits twice in a trip. One call can send and wait, so a mean of two is possible,
  // and the two counters do not start and stop together.
  EXPECT_GE(calls, 1);
  EXPECT_LE(calls, 10);
  EXPECT_NE(process.standard_output().find("system calls/trip"), std::string::npos);
}

TEST(ComparisonTest, WhyNoSystemCallsAreCountedIsSaidInALine) {
  ProcessOptions options;
  options.environment = {"PATH=/nonexistent"};
  Process process(
      comparison({"--workloads", "rr1", "--syscalls", "--rounds", "1", "--warmup", "0"}), options);
  ASSERT_EQ(process.wait(kLong), 0) << process.standard_error();
  const std::string why = "not counted: perf: not installed; strace: not installed";
  EXPECT_NE(process.standard_error().find("sluice-bench: system calls are " + why + '\n'),
            std::string::npos)
      << process.standard_error();
  EXPECT_NE(process.standard_output().find("; system calls: " + why), std::string::npos)
      << process.standard_output();
}

constexpr const char* kNginxStreams = "/usr/lib/nginx/modules/ngx_stream_module.so";

class OtherForwarder : public testing::TestWithParam<const char*> {};

/// With the generated configuration. Streams go one way: when HAProxy 2.6 splices both ways at
/// once, it cuts one stream when the other ends, about every fourth time.
TEST_P(OtherForwarder, CarriesEveryKindOfWork) {
  const std::string name = GetParam();
  const std::string program = name.substr(0, name.find('-'));
  SLUICE_NEEDS_PROGRAM(program);
  if (program == "nginx" && !std::filesystem::exists(kNginxStreams)) {
    GTEST_SKIP() << "nginx has no stream module here";
  }
  const Compared compared =
      compare_briefly({"--peers", name, "--workloads", "bulk2,rr2,crr1,idle20", "--rounds", "1",
                       "--verify", "1MiB"});
  EXPECT_EQ(compared.status, 0) << compared.error << compared.output;
  EXPECT_EQ(count_lines(compared.output, Regex("^" + name + " .* 1/1$")), 4U) << compared.output;
}

INSTANTIATE_TEST_SUITE_P(Programs, OtherForwarder,
                         testing::Values("haproxy-tuned", "haproxy", "nginx-tuned", "nginx",
                                         "socat"),
                         [](const auto& about) {
                           return Regex("\\W").replaced(std::string(about.param), "_");
                         });

/// Through what is installed, and through a command.
TEST(ComparisonTest, SeveralServersAllGetConnections) {
  const TempDir folder;
  const std::string file = folder.file("result.json");
  const std::string sluice = environment("SLUICE_BINARY");
  std::string peers = "direct,sluice,sluice-epoll,sluice-mirror";
  if (!find_program("haproxy").empty()) peers += ",haproxy-tuned,haproxy";
  if (!find_program("nginx").empty() && std::filesystem::exists(kNginxStreams)) peers += ",nginx";
  const std::string mine = sluice + " --listen 127.0.0.1:{listen} --to=127.0.0.1:{to}";
  Process process(bench({"--servers", "3",           "--peers",      peers,         "--sluice",
                         sluice,      "--contender", "mine=" + mine, "--workloads", "crr2,bulk4",
                         "--rounds",  "1",           "--time",       "500ms",       "--warmup",
                         "0",         "--verify",    "1MiB",         "--json",      file}));
  ASSERT_EQ(process.wait(kLong), 0) << process.standard_error() << process.standard_output();
  EXPECT_NE(process.standard_output().find("; servers: 3\n"), std::string::npos)
      << process.standard_output();
  const json::value document = json::parse(read_text(file));
  EXPECT_EQ(document.at("settings").at("servers"), 3);
  for (const json::value& run : document.at("workloads").at(0).at("runs").as_array()) {
    const json::value& metrics = run.at("metrics");
    const double least = metrics.at("least_server_share").to_number<double>();
    const double most = metrics.at("most_server_share").to_number<double>();
    const std::string name(run.at("contender").as_string());
    if (name == "direct") {
      EXPECT_EQ(least, 0) << "it has no forwarder that could balance";
      EXPECT_EQ(most, 3);
    } else {
      EXPECT_GT(least, 0) << name;
      EXPECT_LT(most, 3) << name;
    }
  }
}

/// It is left out of all that are installed, and refused where it is named.
TEST(ComparisonTest, SocatHasOneServer) {
  SLUICE_NEEDS_PROGRAM("socat");
  Process named(bench({"--servers", "2", "--peers", "direct,socat"}));
  EXPECT_EQ(named.wait(kLong), 2);
  EXPECT_EQ(named.standard_error(),
            "sluice-bench: --peers: \"socat\": forwards to one server only, expected another "
            "contender or --servers 1\n");
  Process all(bench({"--servers", "2", "--relative-to", "socat"}));
  EXPECT_EQ(all.wait(kLong), 2);
  EXPECT_NE(all.standard_error().find("--relative-to"), std::string::npos) << all.standard_error();
}

struct Dump {
  const char* at_end;  ///< what it does when asked to end
  int status;
  const char* says;
};

class TcpdumpBeside : public testing::TestWithParam<Dump> {};

/// A tcpdump that takes long to report its losses is waited for. One that reports nothing makes the
/// run void.
TEST_P(TcpdumpBeside, TellsWhatItLost) {
  SLUICE_NEEDS_PROGRAM("haproxy");
  if (::geteuid() != 0) GTEST_SKIP() << "only root may record packets";
  const TempDir folder;
  const std::string file =
      folder.write("tcpdump", std::string("#!/bin/sh\n"
                                          "[ \"$1\" = --version ] && echo of this test && exit\n"
                                          "trap '") +
                                  GetParam().at_end +
                                  "exit' TERM\n"
                                  "while :; do sleep 0.05; done\n");
  std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  ProcessOptions options;
  options.environment = {"PATH=" + folder.path() + ":" + environment("PATH")};
  Process process(bench({"--peers", "haproxy-tcpdump", "--workloads", "rr1", "--rounds", "1",
                         "--time", "100ms"}),
                  options);
  EXPECT_EQ(process.wait(kLong), GetParam().status) << process.standard_error();
  EXPECT_NE(process.standard_output().find(GetParam().says), std::string::npos)
      << process.standard_output();
}

INSTANTIATE_TEST_SUITE_P(
    Ends, TcpdumpBeside,
    testing::Values(Dump{"sleep 0.5; echo 90 packets captured >&2; "
                         "echo 10 packets dropped by kernel >&2; ",
                         0,
                         "Lost: percent of the packets that its tcpdump did not record: "
                         "haproxy-tcpdump 10.00"},
                    Dump{"", 1, "VOID: haproxy-tcpdump, round 1: tcpdump did not report"}),
    [](const auto& about) { return "Number" + std::to_string(about.index); });

TEST(ComparisonTest, SaysWhatChangedAgainstAnEarlierRun) {
  const TempDir folder;
  const std::string before = folder.file("before.json");
  Process first(comparison({"--workloads", "rr1", "--rounds", "3", "--json", before}));
  ASSERT_EQ(first.wait(kLong), 0) << first.standard_error();
  // The earlier run was ten times as fast.
  json::value document = json::parse(read_text(before));
  for (json::value& run : document.at("workloads").at(0).at("runs").as_array()) {
    json::value& rate = run.at("metrics").at("trips_per_s");
    rate = rate.to_number<double>() * 10;
  }
  const std::string changed = folder.write("changed.json", json::serialize(document));
  Process second(comparison({"--workloads", "rr1", "--rounds", "3", "--baseline", changed}));
  ASSERT_EQ(second.wait(kLong), 0) << second.standard_error();
  EXPECT_TRUE(Regex("trips/s .*worse").is_in(second.standard_output())) << second.standard_output();
}

/// A run that could fill the directory is not started.
TEST(ComparisonTest, WhatMayNotHaveRoomIsNotStarted) {
  Process process(bench({"--peers", "sluice-capture-none", "--sluice", environment("SLUICE_BINARY"),
                         "--workloads", "bulk1", "--time", "1h"}));
  const std::uintmax_t an_hour = std::uintmax_t{7200} << 30;
  if (std::filesystem::space("/tmp").available > an_hour) GTEST_SKIP() << "a very large disk";
  EXPECT_EQ(process.wait(kLong), 1);
  const std::string error = process.standard_error();
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
  EXPECT_NE(error.find("(sluice-capture-none) may need 7.0 TiB"), std::string::npos) << error;
}

TEST(ComparisonTest, RunsHaveTheirFilesWhereItIsTold) {
  const TempDir folder;
  const std::string file = folder.file("result.json");
  const std::string said = folder.file("said");
  Process process(
      bench({"--peers", "direct", "--contender",
             "echo=/bin/sh -c echo${IFS}{dir}>" + said + ";exec${IFS}false${IFS}{listen}{to}",
             "--workloads", "rr1", "--rounds", "1", "--time", "100ms", "--dir", folder.path(),
             "--json", file}));
  EXPECT_EQ(process.wait(kLong), 1) << "that one does not listen";
  EXPECT_TRUE(read_text(said).starts_with(folder.path() + "/sluice-bench-")) << read_text(said);
  EXPECT_TRUE(json::parse(read_text(file)).at("machine").as_object().contains("filesystem"));
}

/// A word with spaces stays one word when the command is pasted into a shell.
TEST(ComparisonTest, ACommandOfTheResultCanBeTypedAgain) {
  const TempDir folder;
  const std::string file = folder.file("result.json");
  Process process(
      bench({"--peers", "sluice-mirror", "--sluice", environment("SLUICE_BINARY"), "--workloads",
             "rr1", "--rounds", "1", "--time", "100ms", "--json", file}));
  ASSERT_EQ(process.wait(kLong), 0) << process.standard_error();
  const json::value document = json::parse(read_text(file));
  const std::string command(document.at("contenders").at(0).at("command").as_string());
  Process shell({"/bin/sh", "-c", "for word in " + command + "; do echo \"<$word>\"; done"});
  ASSERT_EQ(shell.wait(kLong), 0) << shell.standard_error();
  const std::string words = shell.standard_output();
  const std::string script =
      R"("$0" --listen 127.0.0.1:{mirror} --to discard: --log-level warn & "$@" & wait)";
  EXPECT_EQ(words.find("</bin/sh>\n<-c>\n<" + script + ">\n<"), 0U) << words;
}

TEST(ComparisonTest, VoidsWhatDoesNotStart) {
  Process process(bench({"--peers", "direct", "--contender", "broken=/bin/false {listen} {to}",
                         "--workloads", "rr1", "--rounds", "1", "--time", "100ms"}));
  EXPECT_EQ(process.wait(kLong), 1);
  EXPECT_TRUE(Regex("VOID: broken.*ended at once").is_in(process.standard_output()))
      << process.standard_output();
}

// Processes whose first argument is `program`.
std::set<std::string> processes_of(const std::string& program) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    // A process that ends between open and read causes a read error, which getline() keeps in the
    // stream.
    std::ifstream line(entry.path() / "cmdline");
    std::string word;
    if (std::getline(line, word, '\0') && word == program) found.insert(entry.path().filename());
  }
  return found;
}

TEST(ComparisonTest, InterruptedEndsItsChildrenAndPrintsWhatItHas) {
  const TempDir folder;
  const std::string copy = folder.file("sluice-of-this-test");
  // The forwarder's command line begins with it; the comparison's merely contains it.
  const auto forwarders = [&] { return processes_of(copy); };
  std::filesystem::copy_file(environment("SLUICE_BINARY"), copy);
  Process process(bench({"--peers", "sluice", "--sluice", copy, "--rounds", "50", "--time", "400ms",
                         "--workloads", "rr1,bulk1"}));
  // In the middle of a later round.
  ASSERT_TRUE(process.wait_for_error_line(Regex("round 2, sluice: "), 0, kLong));
  ASSERT_TRUE(wait_until([&] { return !forwarders().empty(); }));
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(kLong), 130);
  EXPECT_TRUE(Regex("rr1: .*\\n.*\\nsluice").is_in(process.standard_output()))
      << process.standard_output();
  EXPECT_TRUE(forwarders().empty()) << "a child is left";
}

/// A forwarder that accepts everything and forwards nothing.
TEST(ComparisonTest, InterruptedWhileAPathStallsEndsSoon) {
  const TempDir folder;
  const std::string copy = folder.file("sluice-of-this-test");
  std::filesystem::copy_file(environment("SLUICE_BINARY"), copy);
  const auto forwarders = [&] { return processes_of(copy); };
  Process process(bench({"--peers", "direct", "--contender",
                         "stall=env TO={to} " + copy + " --listen 127.0.0.1:{listen} --to discard:",
                         "--workloads", "rr1", "--rounds", "1", "--time", "100ms"}));
  ASSERT_TRUE(process.wait_for_error_line(Regex("rr1, round 1, direct: ")));
  ASSERT_TRUE(wait_until([&] { return !forwarders().empty(); }));
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(kSoon), 130) << process.standard_error();
  EXPECT_NE(process.standard_output().find("direct"), std::string::npos);
  EXPECT_TRUE(forwarders().empty()) << "a child is left";
}

/// Background jobs of the shell that becomes the comparison are not its children to end.
TEST(ComparisonTest, ChildrenThatItDidNotStartLiveOn) {
  const TempDir folder;
  const std::string copy = folder.file("sleep-of-this-test");
  std::filesystem::copy_file("/bin/sleep", copy);
  const auto sleepers = [&] { return processes_of(copy); };
  std::vector<std::string> command =
      bench({"--peers", "direct", "--workloads", "rr1", "--rounds", "2", "--time", "100ms"});
  command.insert(command.begin(), {"/bin/sh", "-c", "\"$0\" 1000 & exec \"$@\"", copy});
  Process process(command);
  EXPECT_EQ(process.wait(kLong), 0) << process.standard_error();
  const std::set<std::string> left = sleepers();
  EXPECT_EQ(left.size(), 1U);
  for (const std::string& pid : left) ::kill(std::stoi(pid), SIGKILL);
}

// How a comparison is ended: the signal goes to the program and the run's process at once, as from
// a terminal, this many times.
struct Ending {
  int signal;
  int times;
};

class EndedAtOnce : public testing::TestWithParam<Ending> {};

/// Two daemons, one beside the other; only the run's process knows both.
TEST_P(EndedAtOnce, LeavesNoProcessAndNoFile) {
  const TempDir folder;
  const TempDir temporary;
  const std::string copy = folder.file("sluice-of-this-test");
  std::filesystem::copy_file(environment("SLUICE_BINARY"), copy);
  const auto forwarders = [&] { return processes_of(copy); };
  std::vector<std::string> command = bench({"--peers", "sluice-mirror", "--sluice", copy,
                                            "--workloads", "rr1", "--rounds", "1", "--time", "1m"});
  command.insert(command.begin(), "setsid");
  ProcessOptions options;
  options.environment = {"TMPDIR=" + temporary.path()};
  Process process(command, options);
  ASSERT_TRUE(wait_until([&] { return forwarders().size() == 2; }));
  const auto [signal, times] = GetParam();
  for (int i = 0; i < times; ++i) {
    ::kill(-process.pid(), signal);
    // A signal that is still pending would swallow the next one.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  // It may have ended in order before the second signal came.
  const std::optional<int> status = process.wait(kLong);
  EXPECT_TRUE(status == 130 || (times > 1 && status == -signal)) << process.standard_error();
  EXPECT_TRUE(wait_until([&] { return forwarders().empty(); })) << "a daemon is left";
  EXPECT_TRUE(wait_until([&] { return std::filesystem::is_empty(temporary.path()); }))
      << "a file is left";
}

INSTANTIATE_TEST_SUITE_P(Signals, EndedAtOnce,
                         testing::Values(Ending{SIGTERM, 1}, Ending{SIGINT, 2}),
                         [](const auto& about) { return "Number" + std::to_string(about.index); });

// --- What --quick chooses ---

std::vector<std::string> names_in(const json::value& list, const char* key) {
  std::vector<std::string> names;
  for (const json::value& each : list.as_array()) names.emplace_back(each.at(key).as_string());
  return names;
}

TEST(QuickTest, ChoosesSixWorkloads) {
  const TempDir folder;
  const std::string file = folder.file("result.json");
  Process process(comparison({"--quick", "--rounds", "1", "--warmup", "0", "--json", file}));
  ASSERT_EQ(process.wait(kLong), 0) << process.standard_error();
  const json::value document = json::parse(read_text(file));
  EXPECT_EQ(names_in(document.at("workloads"), "name"),
            (std::vector<std::string>{"bulk1", "bulk8", "rr1", "rr32", "crr1", "idle500"}));
  EXPECT_EQ(names_in(document.at("contenders"), "name"),
            (std::vector<std::string>{"direct", "sluice"}));
}

TEST(QuickTest, ChoosesThreeRoundsOfThreeContendersAndTheControl) {
  const TempDir folder;
  const std::string file = folder.file("result.json");
  Process process(bench({"--quick", "--sluice", environment("SLUICE_BINARY"), "--json", file}));
  const auto said = process.wait_for_error_line(Regex("rounds: about \\d+ seconds$"));
  ASSERT_TRUE(said);
  // The promised duration: under two minutes.
  EXPECT_LE(std::stoi(said->substr(said->find("about ") + 6)), 120) << *said;
  process.signal(SIGINT);
  ASSERT_EQ(process.wait(kSoon), 130) << process.standard_error();
  const json::value document = json::parse(read_text(file));
  std::vector<std::string> chosen{"direct", "sluice", "A/A"};
  if (!find_program("haproxy").empty()) chosen.insert(chosen.begin() + 1, "haproxy-tuned");
  EXPECT_EQ(names_in(document.at("contenders"), "name"), chosen);
  EXPECT_EQ(document.at("settings").at("rounds").to_number<int>(), 3);
}

// --- Bad arguments ---

TEST(BenchArgumentsTest, AreRefusedInOneLine) {
  const std::vector<std::vector<std::string>> wrong = {
      {"--rounds", "0"},
      {"--servers", "0"},
      {"--servers", "1001"},
      {"--servers", "2", "--peers", "socat"},
      {"--sni", "0"},
      {"--sni", "101"},
      {"--sni", "2", "--servers", "2", "--peers", "direct"},
      {"--peers", "sluice-sni"},
      {"--workloads", "bulk0"},
      {"--workloads", "nonsense"},
      {"--peers", "nobody"},
      {"--time", "5"},
      {"--time", "2h"},
      {"--size", "0B"},
      {"--contender", "x=true"},
      {"--unknown"},
      {"--help", "nonsense"},
      {"serve"},
      {"serve", "--listen", "nowhere"},
      {"load", "--to", "nowhere", "--workload", "rr1"},
      {"load", "--to", "discard:", "--workload", "rr1"},
      {"load", "--to", "127.0.0.1:1", "--workload", "rr1", "--path-pid", "99999999"},
      {"--contender", "direct=true {listen} {to}"},
      {"--peers", "direct,direct"},
      {"load", "--to", "x:1"},
      {"--relative-to", "nobody"},
      {"--time", ""},
      {"--sluice", "/etc/passwd"},
      {"--sluice", "/"},
      {"--dir", "/nonexistent"},
      {"--quick", "serve", "--listen", "127.0.0.1:0"},
      {"--rounds", "3", "load", "--to", "127.0.0.1:1", "--workload", "rr1"},
      {"--baseline", "/nonexistent/file"},
      {"report", "--from", "/nonexistent/file"},
      {"--workloads", "rr1@0"},
      {"--ends", "processes"},
      {"--ends", "threads", "--workloads", "rr1025"},
      {"--workloads", "rr1x1TiB"}};
  for (const auto& arguments : wrong) {
    Process process(bench(arguments));
    EXPECT_EQ(process.wait(kLong), 2) << testing::PrintToString(arguments);
    const std::string error = process.standard_error();
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
    EXPECT_EQ(error.find("sluice-bench: "), 0U) << error;
  }
}

TEST(BenchArgumentsTest, TheOptionThatIsWrongIsNamed) {
  Process process(bench({"load", "--to", "127.0.0.1:1", "--workload", "nonsense"}));
  EXPECT_EQ(process.wait(kLong), 2);
  EXPECT_EQ(process.standard_error().find("sluice-bench: --workload: workload \"nonsense\""), 0U)
      << process.standard_error();
}

TEST(BenchArgumentsTest, ADashIsStdoutOrStdin) {
  const TempDir folder;
  ServingEnd serving;
  Process measured(bench({"load", "--to", serving.address(), "--workload", "rr1", "--time", "100ms",
                          "--warmup", "0", "--json", "-"}));
  EXPECT_EQ(measured.wait(kLong), 0) << measured.standard_error();
  EXPECT_NE(measured.standard_error().find("rr1"), std::string::npos);
  const std::string document = folder.write("document", measured.standard_output());
  const OwnedFd in(::open(document.c_str(), O_RDONLY | O_CLOEXEC));
  ProcessOptions options;
  options.standard_input = in.get();
  Process shown(bench({"report", "--from", "-", "--markdown", "-"}), options);
  EXPECT_EQ(shown.wait(kLong), 0) << shown.standard_error();
  EXPECT_NE(shown.standard_output().find("| "), std::string::npos) << shown.standard_output();
  Process piped({"/bin/sh", "-c", "cat \"$1\" | \"$0\" report --from /dev/stdin", bench({}).front(),
                 document});
  EXPECT_EQ(piped.wait(kLong), 0) << piped.standard_error();
  Process over(bench({"report", "--from", document, "--html", document}));
  EXPECT_EQ(over.wait(kLong), 2);
  Process both(bench({"report", "--from", document, "--html", "-", "--markdown", "-"}));
  EXPECT_EQ(both.wait(kLong), 2);
  for (const char* option : {"--help", "--version"}) {
    const OwnedFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    options.standard_output = full.get();
    Process printed(bench({option}), options);
    EXPECT_EQ(printed.wait(kLong), 1) << option;
  }
}

TEST(BenchArgumentsTest, FilesThatAreNoResultsAreNamed) {
  const TempDir folder;
  const std::vector<std::string> files = {
      folder.write("text", "no JSON"), folder.write("list", "[]"),
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
