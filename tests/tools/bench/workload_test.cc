#include "tools/bench/workload.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::bench {
namespace {

Workload parsed(const std::string& name, const WorkloadDefaults& defaults = {}) {
  const Result<Workload> workload = parse_workload(name, defaults);
  EXPECT_TRUE(workload.has_value()) << name;
  return workload.has_value() ? *workload : Workload{};
}

TEST(WorkloadTest, NamesSayWhatIsRun) {
  const Part bulk = parsed("bulk64down-plain").parts.at(0);
  EXPECT_EQ(bulk.kind, Kind::bulk);
  EXPECT_EQ(bulk.connections, 64U);
  EXPECT_EQ(bulk.direction, Direction::down);
  EXPECT_EQ(bulk.ends, Ends::plain);
  EXPECT_EQ(parsed("bulk1both").parts.at(0).direction, Direction::both);
  EXPECT_EQ(parsed("bulk3up").parts.at(0).direction, Direction::up);

  const Part ping = parsed("rr8x16KiB@2000").parts.at(0);
  EXPECT_EQ(ping.kind, Kind::ping);
  EXPECT_EQ(ping.connections, 8U);
  EXPECT_EQ(ping.size_bytes, 16U << 10);
  EXPECT_EQ(ping.rate, 2000);
  EXPECT_EQ(parsed("rr32").parts.at(0).size_bytes, 1U);

  const Part call = parsed("crr4@500").parts.at(0);
  EXPECT_EQ(call.kind, Kind::call);
  EXPECT_EQ(call.connections, 4U);
  EXPECT_EQ(call.rate, 500);
  EXPECT_EQ(parsed("idle3000").parts.at(0).connections, 3000U);

  const Workload both = parsed("elephants4mice32");
  ASSERT_EQ(both.parts.size(), 2U);
  EXPECT_EQ(both.parts[0].connections, 4U);
  EXPECT_EQ(both.parts[1].connections, 32U);
  EXPECT_EQ(parsed("slow8").parts.at(1).read_rate_bytes, kSlowReadRateBytes);
  EXPECT_EQ(parsed("mix").parts.size(), 4U);
}

TEST(WorkloadTest, MessagesAndCallsCanHaveAThreadForEachConnection) {
  for (const char* name : {"rr8-threads", "rr8x16KiB-threads", "rr8x16KiB@2000-threads",
                           "crr4@5-threads", "elephants1mice2-threads", "mix-threads"}) {
    const Workload workload = parsed(name);
    EXPECT_EQ(workload.name, name);
    EXPECT_EQ(workload.ends(), "threads") << name;
    for (const Part& part : workload.parts) {
      const bool exchanges = part.kind == Kind::ping || part.kind == Kind::call;
      EXPECT_EQ(part.threading == Threading::per_connection, exchanges) << name;
    }
  }
  EXPECT_EQ(parsed("rr8x16KiB@2000-threads").parts.at(0).size_bytes, 16U << 10);
  EXPECT_EQ(parsed("rr8x16KiB@2000-threads").parts.at(0).rate, 2000);
  EXPECT_EQ(parsed("rr8").ends(), "loop");
  EXPECT_EQ(parsed("bulk8").ends(), "");
  const WorkloadDefaults threads{.threading = Threading::per_connection};
  EXPECT_EQ(parsed("rr8", threads), parsed("rr8-threads"));
  EXPECT_EQ(parsed("rr8-threads", threads), parsed("rr8-threads"));
  EXPECT_EQ(parsed("bulk8", threads), parsed("bulk8"));
}

TEST(WorkloadTest, WhatANameLeavesOpenIsTheDefault) {
  const WorkloadDefaults defaults{.connections = 16, .size_bytes = 4096};
  const Workload ping = parsed("rr", defaults);
  EXPECT_EQ(ping.parts.at(0).connections, 16U);
  EXPECT_EQ(ping.parts.at(0).size_bytes, 4096U);
  EXPECT_EQ(ping.name, "rr16x4KiB");
  EXPECT_EQ(parsed("rr@100", defaults).name, "rr16x4KiB@100");
  EXPECT_EQ(parsed("rr2x1B", defaults).name, "rr2x1B");
  EXPECT_EQ(parsed("rr-threads", defaults).name, "rr16x4KiB-threads");
  EXPECT_EQ(parsed("bulkdown", defaults).name, "bulk16down");
  EXPECT_EQ(parsed("bulk", defaults).name, "bulk16");
  EXPECT_EQ(parsed("slow", defaults).name, "slow16");
}

TEST(WorkloadTest, AFullNameMeansTheSameAgain) {
  const WorkloadDefaults defaults{.connections = 5, .size_bytes = 100};
  for (const char* name :
       {"bulk", "bulkboth-plain", "rr", "rr@7", "crr", "crr@9", "idle", "slow", "elephants2mice3",
        "mix", "bulk7", "rr7x2KiB", "rr@7-threads", "crr-threads"}) {
    const Workload once = parsed(name, defaults);
    const Workload twice = parsed(once.name);
    EXPECT_EQ(twice.name, once.name);
    EXPECT_EQ(twice.parts, once.parts) << once.name;
  }
}

TEST(WorkloadTest, EveryOneIsDescribed) {
  EXPECT_EQ(parsed("bulk8").description(), "8 streams to the upstream");
  EXPECT_EQ(parsed("rr1x4KiB@50").description(),
            "1 connection exchanging 4KiB messages, 50 a second");
  EXPECT_EQ(parsed("rr2-threads").description(),
            "2 connections exchanging 1B messages, a thread for each connection");
  EXPECT_EQ(parsed("rr1").loop(), "closed loop");
  EXPECT_EQ(parsed("crr1@5").loop(), "open loop");
  EXPECT_EQ(parsed("bulk1").loop(), "");
}

TEST(WorkloadTest, WhatIsNotUnderstoodIsNamed) {
  for (const char* name : {"",
                           "bulk0",
                           "bulk8sideways",
                           "bulk99999",
                           "rr1x",
                           "rr1x0B",
                           "rr1x1TiB",
                           "rr1@",
                           "rr1@0",
                           "crr65",
                           "idle-1",
                           "elephants1",
                           "elephantsmice",
                           "mix2",
                           "nonsense",
                           "rr1 ",
                           "bulk1-plain-plain",
                           "bulk1-threads",
                           "idle1-threads",
                           "rr1-threads-threads",
                           "rr1-threads@5"}) {
    const Result<Workload> workload = parse_workload(name);
    ASSERT_TRUE(workload.has_error()) << name;
    EXPECT_NE(workload.error().context.find('"' + std::string(name) + '"'), std::string::npos);
  }
}

TEST(WorkloadTest, WhatIsTooMuchIsToldTheBound) {
  const auto said = [](const char* name) { return parse_workload(name).error().context; };
  EXPECT_EQ(said("crr65"), "workload \"crr65\": expected at most 64 threads");
  EXPECT_EQ(said("bulk30000"), "workload \"bulk30000\": expected at most 20000 connections");
  EXPECT_EQ(said("bulk99999999999999999999down"),
            "workload \"bulk99999999999999999999down\": expected at most 20000 connections");
  EXPECT_EQ(said("rr20000x1MiB"),
            "workload \"rr20000x1MiB\": expected at most 1GiB in all messages together");
  EXPECT_EQ(
      said("rr1025-threads"),
      "workload \"rr1025-threads\": expected at most 1024 connections with a thread for each");
  EXPECT_EQ(said("rr1x1TiB"), "workload \"rr1x1TiB\": expected at most 16MiB");
  EXPECT_EQ(said("rr1@99999999"), "workload \"rr1@99999999\": expected at most 10000000 a second");
}

}  // namespace
}  // namespace sluice::bench
