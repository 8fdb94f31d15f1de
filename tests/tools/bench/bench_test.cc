// The real program's two ends, with a misbehaving path between a load and a serving end.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/two_addresses.h"
#include "tests/tools/bench/bench_program.h"
#include "tests/tools/bench/meddling_path.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;

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
                                         "idle50", "elephants1mice2", "slow2", "mix", "rr4-threads",
                                         "rr2x100KiB-threads", "rr4@200-threads", "crr2-threads"),
                         [](const auto& about) {
                           return Regex("\\W").replaced(std::string(about.param), "_");
                         });

struct Bad {
  const char* workload;
  Meddling meddling;
  const char* reason;
  std::vector<std::string> more = {};
};

class BadPath : public testing::TestWithParam<Bad> {};

/// A wrong or lost byte makes the run void, and the reason is reported.
TEST_P(BadPath, VoidsTheRun) {
  const ServingEnd serving;
  const MeddlingPath path(serving.port(), GetParam().meddling);
  std::vector<std::string> more = GetParam().more;
  more.insert(more.end(), {"--verify", "1MiB"});
  const Loaded loaded = load(path.port(), GetParam().workload, more);
  EXPECT_TRUE(path.meddled());
  EXPECT_EQ(loaded.status, 1);
  ASSERT_FALSE(loaded.valid());
  EXPECT_TRUE(Regex(GetParam().reason).is_in(loaded.reason())) << loaded.reason();
  EXPECT_NE(loaded.output.find(loaded.reason()), std::string::npos) << loaded.output;
}

// Beyond the part that is always compared, only --verify-all checks every byte. A lost byte is
// noticed in any case.
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
        Bad{"bulk1", {.hold_end = true}, "some connections did not end"},
        Bad{"rr1", {.corrupt_at = 500}, "came back with a wrong byte"},
        Bad{"rr1x100KiB", {.corrupt_at = 150'000, .downward = true}, "wrong byte at offset"},
        Bad{"rr1-threads", {.corrupt_at = 500}, "came back with a wrong byte"},
        Bad{"rr1x100KiB-threads",
            {.corrupt_at = 150'000, .downward = true},
            "wrong byte at offset"},
        Bad{"rr1-threads", {.cut_at = 500}, "closed|ended|reset"},
        Bad{"crr1-threads", {.cut_at = 39}, "closed"},
        Bad{"rr1", {.cut_at = 500}, "closed|ended|reset"}, Bad{"crr1", {.cut_at = 39}, "closed"}),
    [](const auto& about) { return "Number" + std::to_string(about.index); });

struct Stall {
  const char* workload;
  Meddling meddling;
};

class StallingPath : public testing::TestWithParam<Stall> {};

/// An interrupt during a stall ends the program before its own patience does.
TEST_P(StallingPath, EndsSoonAfterAnInterrupt) {
  const ServingEnd serving;
  const MeddlingPath path(serving.port(), GetParam().meddling);
  Process process(bench({"load", "--to", "127.0.0.1:" + std::to_string(path.port()), "--workload",
                         GetParam().workload, "--time", "100ms", "--verify", "1MiB"}));
  ASSERT_TRUE(wait_until([&] { return path.meddled(); }));
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(kSoon), 130) << process.standard_error();
}

INSTANTIATE_TEST_SUITE_P(
    Workloads, StallingPath,
    testing::Values(Stall{"bulk1", {.stall_at = 500'000}}, Stall{"bulk1", {.stall_at = kLate}},
                    Stall{"bulk1down", {.stall_at = kLate, .downward = true}},
                    Stall{"rr1", {.stall_at = 100}}, Stall{"rr1", {.stall_after = 1}},
                    Stall{"rr1-threads", {.stall_at = 100}}, Stall{"crr2", {.stall_after = 4}},
                    Stall{"idle50", {.stall_after = 80}}),
    [](const auto& about) { return "Number" + std::to_string(about.index); });

TEST(SlowPath, IsReportedAsSlow) {
  const ServingEnd serving;
  const MeddlingPath path(serving.port(), {.delay = milliseconds(5)});
  const Loaded slow = load(path.port(), "rr1");
  ASSERT_EQ(slow.status, 0) << slow.error;
  // The path delays both ways, so no exchange is faster; nor is it much slower, if the machine
  // allows.
  EXPECT_GE(slow.metric("p50_us"), 10'000);
  EXPECT_LE(slow.metric("trips_per_s"), 100);
  const Loaded fast = load(serving.port(), "rr1");
  EXPECT_LT(fast.metric("p50_us"), slow.metric("p50_us"));
}

/// A stall at the very end is noticed, too.
TEST(SlowPath, ACutOfTheMeasuredTimeDoesNotHideAStall) {
  const ServingEnd serving;
  const MeddlingPath path(serving.port(), {.delay = milliseconds(300)});
  // The first exchange takes longer than the measured time.
  const Loaded open = load(path.port(), "rr1@20", {"--warmup", "0"}, "700ms");
  ASSERT_EQ(open.status, 0) << open.error << open.output;
  EXPECT_GE(open.metric("max_us"), 500'000);
}

/// A closed loop waits for a slow path, which hides how late it was. An open loop counts from when
/// each exchange was due.
TEST(SlowPath, CannotHideByWaiting) {
  const ServingEnd serving;
  const MeddlingPath path(serving.port(), {.delay = milliseconds(5)});
  // The test asks for 200 a second, and at most 100 are possible. The last one measured is late by
  // about half of the time.
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

// A connection's first bytes (protocol.h).
std::string hello_of(char role, char run) {
  std::string hello("SLB1\0\0\0\0\1\0\0\0", 12);
  hello.resize(40);
  hello[4] = role;
  hello[16] = run;
  return hello;
}

/// At most sixteen runs are served at a time. Runs that stay silent after their Hello do not keep
/// others out.
TEST(ServingEndTest, SilentRunsDoNotHoldItForLong) {
  const ServingEnd serving;
  // Control connections, one for each run.
  constexpr std::size_t kMostRuns = 16;
  std::vector<OwnedFd> silent;
  for (std::size_t i = 0; i < kMostRuns; ++i) {
    silent.push_back(connect_tcp(serving.port()));
    ASSERT_TRUE(send_all(silent.back().get(), hello_of(0, static_cast<char>(i + 1))));
  }
  const Loaded kept_out = load(serving.port(), "rr1", {}, "100ms");
  ASSERT_FALSE(kept_out.valid());
  EXPECT_EQ(kept_out.reason(), "upstream: too many runs at a time");
  EXPECT_TRUE(wait_until([&] { return load(serving.port(), "rr1", {}, "100ms").valid(); }));
}

std::size_t threads_of(pid_t pid) {
  const std::filesystem::directory_iterator tasks("/proc/" + std::to_string(pid) + "/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

/// A call that the client never closes does not keep the run and its threads at the serving end.
TEST(ServingEndTest, ACallThatIsNotClosedDoesNotKeepItsRun) {
  ServingEnd serving;
  const std::size_t before = threads_of(serving.process().pid());
  OwnedFd control = connect_tcp(serving.port());
  ASSERT_TRUE(send_all(control.get(), hello_of(0, 1) + "begin {\"threads\":8}\n"));
  ASSERT_TRUE(wait_until([&] { return threads_of(serving.process().pid()) >= before + 9; }));
  const OwnedFd call = connect_tcp(serving.port());
  ASSERT_TRUE(send_all(call.get(), hello_of(3, 1)));
  char byte = 1;
  ASSERT_TRUE(wait_until([&] { return ::recv(call.get(), &byte, 1, MSG_DONTWAIT) == 1; }));
  control.reset();
  // The session's thread is joined when the next session comes.
  EXPECT_TRUE(wait_until([&] { return threads_of(serving.process().pid()) <= before + 1; }));
}

/// The load says it, so that a serving end elsewhere does the same.
TEST(ServingEndTest, HasAThreadForEachConnectionWhereAsked) {
  ServingEnd serving;
  Process process(bench({"load", "--to", serving.address(), "--workload", "rr20", "--ends",
                         "threads", "--time", "1m"}));
  const auto all = [](const Process& end) { return threads_of(end.pid()) > 20; };
  EXPECT_TRUE(wait_until([&] { return all(serving.process()) && all(process); }));
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(kSoon), 130) << process.standard_error();
}

/// The serving end holds a message until it is complete, so a load may not ask for more than a
/// bound.
TEST(ServingEndTest, MessagesThatAreTooLargeTogetherEndTheRun) {
  const ServingEnd serving;
  const OwnedFd control = connect_tcp(serving.port());
  std::string said;
  const auto is_said = [&](const char* what) {
    std::array<char, 256> chunk{};
    const ssize_t got = ::recv(control.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (got > 0) said.append(chunk.data(), static_cast<std::size_t>(got));
    return said.find(what) != std::string::npos;
  };
  ASSERT_TRUE(send_all(control.get(), hello_of(0, 1) + "begin {\"threads\":1}\n"));
  ASSERT_TRUE(wait_until([&] { return is_said("{}\n"); }));
  // Each message has 16 MiB: little-endian, at byte 8. The number of the connection follows.
  constexpr int kConnections = 65;
  std::vector<OwnedFd> echoes;
  for (int i = 0; i < kConnections; ++i) {
    std::string hello = hello_of(2, 1);
    hello[8] = 0;
    hello[11] = 1;
    hello[12] = static_cast<char>(i);
    echoes.push_back(connect_tcp(serving.port()));
    ASSERT_TRUE(send_all(echoes.back().get(), hello));
  }
  ASSERT_TRUE(send_all(control.get(), "await 65\n"));
  EXPECT_TRUE(wait_until([&] { return is_said("too large"); })) << said;
}

TEST(ServingEndTest, ServesAUnixSocket) {
  const TempDir folder;
  const std::string path = folder.file("socket");
  const std::string name = "unix:@" + path;
  ServingEnd serving("unix:" + path);
  ServingEnd abstract(name);
  for (const char* workload : {"rr2", "crr2", "bulk2both"}) {
    const Loaded loaded = load("unix:" + path, workload);
    EXPECT_EQ(loaded.status, 0) << loaded.error << loaded.output;
  }
  const Loaded loaded = load(name, "rr2");
  EXPECT_EQ(loaded.status, 0) << loaded.error << loaded.output;
  EXPECT_TRUE(std::filesystem::exists(path));
  serving.process().signal(SIGINT);
  EXPECT_EQ(serving.process().wait(kLong), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

// Connections to `port` in TIME_WAIT, over IPv6 (proc_net_tcp(5)).
std::size_t waiting_clients(std::uint16_t port) {
  std::size_t count = 0;
  std::ifstream table("/proc/net/tcp6");
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string number, local, remote, state;
    fields >> number >> local >> remote >> state;
    const std::size_t colon = remote.rfind(':');
    if (state != "06" || colon == std::string::npos) continue;
    if (std::stoul(remote.substr(colon + 1), nullptr, 16) == port) ++count;
  }
  return count;
}

/// Outside 127.0.0.0/8 a client calls from one address only, and would soon run out of ports.
TEST(LoadTest, CallsElsewhereKeepNoPort) {
  const auto has_ipv6 = [] {
    try {
      return listen_tcp(1, {}, AF_INET6).port != 0;
    } catch (const std::exception&) {
      return false;
    }
  };
  if (!has_ipv6()) GTEST_SKIP() << "no IPv6 loopback here";
  const ServingEnd serving("[::1]:0");
  const Loaded loaded = load(serving.address(), "crr2");
  ASSERT_EQ(loaded.status, 0) << loaded.error << loaded.output;
  ASSERT_GT(loaded.metric("count"), 2);  // on a busy machine; thousands elsewhere
  // The control connection's own port.
  EXPECT_LE(waiting_clients(serving.port()), 1U);
}

/// The serving end is another program on this machine, which the load cannot identify.
TEST(LoadTest, WhatTheServingEndUsesIsNotCalledOthers) {
  const ServingEnd serving;
  const Loaded loaded = load(serving.port(), "rr1");
  ASSERT_EQ(loaded.status, 0) << loaded.error << loaded.output;
  EXPECT_FALSE(loaded.run.at("metrics").as_object().contains("other_cpus"));
}

/// A web server answers with something else.
TEST(LoadTest, WhereSomethingElseServesSaysSo) {
  const Listener other = listen_tcp();
  std::thread server([&] {
    const OwnedFd client = accept_from(other.fd.get());
    static_cast<void>(send_all(client.get(), "HTTP/1.1 400 Bad Request\r\n\r\n"));
    char byte = 0;
    while (::recv(client.get(), &byte, 1, 0) > 0) {
    }
  });
  const Loaded loaded = load(other.port, "rr1");
  server.join();
  EXPECT_EQ(loaded.status, 1);
  EXPECT_EQ(loaded.reason(),
            "127.0.0.1:" + std::to_string(other.port) + " is not a sluice-bench serving end");
}

TEST(LoadTest, TriesEveryAddressOfAName) {
  if (!TwoAddresses::possible()) GTEST_SKIP() << "no program can be given a name here";
  const ServingEnd end;  // on 127.0.0.1 only
  const TwoAddresses names;
  Process process(names.known_to(
      bench({"load", "--to", TwoAddresses::kName + (':' + std::to_string(end.port())), "--workload",
             "rr1", "--time", "300ms"})));
  EXPECT_EQ(process.wait(kLong), 0) << process.standard_output() << process.standard_error();
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

}  // namespace
}  // namespace sluice::test
