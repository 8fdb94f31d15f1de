#include "tools/ctl/options.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "tools/common/command_line.h"
#include "tools/ctl/commands.h"

namespace sluice::ctl {
namespace {

Invocation parsed(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "sluice-ctl");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

TEST(CtlOptionsTest, APathStandsForAUnixSocket) {
  EXPECT_EQ(address_of("/run/a.sock"), "unix:/run/a.sock");
  EXPECT_EQ(address_of("./a.sock"), "unix:" + std::filesystem::absolute("a.sock").string());
  for (const char* same : {"unix:/run/a.sock", "unix:@name", "127.0.0.1:9090", "[::1]:9090",
                           "localhost:9090", ":9090"}) {
    EXPECT_EQ(address_of(same), same);
  }
  for (const char* wrong : {"a.sock", "127.0.0.1", "127.0.0.1:0", "file:/a", "echo:", "dns:a:1"}) {
    EXPECT_EQ(parsed({"status", "--socket", wrong}).exit_status, kUsageStatus) << wrong;
  }
}

TEST(CtlOptionsTest, CommandsHaveTheirWordsAndOptions) {
  const Invocation server = parsed({"server", "drain", "web", "10.0.0.1:80", "--json"});
  EXPECT_EQ(server.run, run_server);
  EXPECT_EQ(server.order, "drain");
  EXPECT_EQ(server.route, "web");
  EXPECT_EQ(server.server, "10.0.0.1:80");
  EXPECT_TRUE(server.json);
  EXPECT_EQ(server.address, kDefaultSocket);
  const Invocation kill = parsed({"kill", "a", "b"});
  EXPECT_EQ(kill.ids, (std::vector<std::string>{"a", "b"}));
  const Invocation list =
      parsed({"connections", "--route", "web", "--sort", "idle", "--limit", "7"});
  EXPECT_EQ(list.route, "web");
  EXPECT_EQ(list.sort, "idle");
  EXPECT_EQ(list.limit, 7U);
  EXPECT_EQ(parsed({"log-level"}).order, "");
  EXPECT_EQ(parsed({"log-level", "warn"}).order, "warn");
}

TEST(CtlOptionsTest, ADrainWaitsWithATimeOrWithoutOne) {
  EXPECT_FALSE(parsed({"drain"}).waits);
  EXPECT_TRUE(parsed({"drain", "--wait"}).waits);
  EXPECT_FALSE(parsed({"drain", "--wait"}).wait_at_most);
  for (const std::vector<const char*>& arguments :
       {std::vector<const char*>{"drain", "--wait=1m"}, {"drain", "--wait", "1m"}}) {
    const Invocation invocation = parsed(arguments);
    EXPECT_TRUE(invocation.waits);
    EXPECT_EQ(invocation.wait_at_most, std::chrono::minutes(1));
  }
}

TEST(CtlOptionsTest, AReloadCanBeADryRun) {
  EXPECT_FALSE(parsed({"reload"}).dry_run);
  EXPECT_TRUE(parsed({"reload", "--dry-run"}).dry_run);
  EXPECT_EQ(parsed({"takeover"}).run, run_takeover);
}

TEST(CtlOptionsTest, WhatIsWrongIsReported) {
  for (const std::vector<const char*>& arguments : {std::vector<const char*>{},
                                                    {"reload", "web"},
                                                    {"takeover", "--dry-run"},
                                                    {"kill"},
                                                    {"capture", "on"},
                                                    {"capture", "maybe", "web"},
                                                    {"server", "up", "web"},
                                                    {"server", "up", "web", "a", "b"},
                                                    {"connections", "--sort", "name"},
                                                    {"connections", "--limit", "0"},
                                                    {"top", "--count", "-1"},
                                                    {"drain", "--wait", "soon"},
                                                    {"status", "more"},
                                                    {"status", "--socket", "nowhere"},
                                                    {"top", "--json"},
                                                    {"--wait", "status"}}) {
    const Invocation invocation = parsed(arguments);
    EXPECT_EQ(invocation.run, nullptr) << testing::PrintToString(arguments);
    EXPECT_EQ(invocation.exit_status, kUsageStatus) << testing::PrintToString(arguments);
    EXPECT_TRUE(invocation.message.starts_with("sluice-ctl: ")) << invocation.message;
  }
}

}  // namespace
}  // namespace sluice::ctl
