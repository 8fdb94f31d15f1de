#include "tools/bench/contender.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tools/bench/compare.h"
#include "tools/bench/document.h"

namespace sluice::bench {
namespace {

TEST(ContenderTest, NginxHasStreamsWhereverItSaysSo) {
  EXPECT_TRUE(builds_in_streams("configure arguments: --with-stream --with-debug"));
  EXPECT_TRUE(builds_in_streams("configure arguments: --with-debug --with-stream"));
  EXPECT_FALSE(builds_in_streams("configure arguments: --with-stream=dynamic"));
  EXPECT_FALSE(builds_in_streams("configure arguments: --with-stream_ssl_module"));
  EXPECT_FALSE(builds_in_streams(""));
}

TEST(ContenderTest, ALineMayBeLong) {
  const std::string line = line_with({"printf", "first\\n%05000d last\\n", "0"}, "last");
  EXPECT_EQ(line.size(), 5005U);
}

/// 20,000 idle connections with the 65 beside them, and 1000 streams both ways.
TEST(ContenderTest, ProxiesAreToldToTakeTheLargestWorkloads) {
  const Most most = most_within(1 << 20);
  EXPECT_GE(most.connections, 20'065U);
  EXPECT_GE(most.pipes, 2000U);
  for (const std::uint64_t limit : {256U, 1024U, 20'000U, 1U << 20}) {
    const Most within = most_within(limit);
    EXPECT_LT(2 * (within.connections + within.pipes), limit);
    EXPECT_GT(within.connections, 0U);
  }
}

TEST(CompareTest, OnlyWhatIsRecordedTakesUpSpace) {
  CompareOptions options;
  options.workloads = {*parse_workload("bulk1")};
  options.contenders = {{.name = "direct"}};
  options.directory = "/proc";  // has no free space
  EXPECT_EQ(most_recorded_bytes(options), 0U);
  EXPECT_TRUE(check_space(options).has_value());
  options.contenders.push_back({.name = "recorder", .records = true});
  options.seconds = 2;
  options.warmup_seconds = 0;
  options.verify_bytes = 1 << 20;
  options.workers = 2;
  EXPECT_EQ(most_recorded_bytes(options), (std::uint64_t{5} << 30) + (2 << 20));
  const Result<> space = check_space(options);
  ASSERT_TRUE(space.has_error());
  EXPECT_NE(space.error().to_string().find("/proc: 0 bytes are free"), std::string::npos)
      << space.error().to_string();
  EXPECT_NE(space.error().to_string().find("recorder"), std::string::npos);
}

TEST(CompareTest, AFilesystemHasAType) {
  EXPECT_EQ(filesystem_of("/proc"), "proc at /proc");
  EXPECT_EQ(filesystem_of("/nonexistent"), "?");
}

TEST(CompareTest, WhatIsVerifiedHasItsTime) {
  CompareOptions options;
  options.verify_bytes = 0;
  const double without = most_seconds_of_run(options);
  options.verify_bytes = std::uint64_t{10} << 30;
  // Both ways at 10 MiB/s would take 2048 s.
  EXPECT_GE(most_seconds_of_run(options), without + 2048);
}

}  // namespace
}  // namespace sluice::bench
