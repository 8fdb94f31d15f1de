// Comparisons of forwarders that route by the name in a TLS hello, or add a PROXY header.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "iolib/json/json.h"
#include "tests/support/process.h"
#include "tests/support/regex.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/bench/bench_program.h"

namespace sluice::test {
namespace {

class ForwarderWithMore : public testing::TestWithParam<const char*> {};

/// More names than servers, so that some share one; and connections of every kind, each of which
/// the serving end checks.
TEST_P(ForwarderWithMore, CarriesEveryKindOfWork) {
  const std::string name = GetParam();
  const std::string program = name.substr(0, name.find('-'));
  if (program != "sluice") SLUICE_NEEDS_PROGRAM(program);
  if (program == "nginx" &&
      !std::filesystem::exists("/usr/lib/nginx/modules/ngx_stream_module.so")) {
    GTEST_SKIP() << "nginx has no stream module here";
  }
  std::vector<std::string> arguments{
      "--peers",   name, "--sluice",    environment("SLUICE_BINARY"),
      "--servers", "3",  "--workloads", "bulk2,rr2,crr2,crr2-threads,idle20",
      "--rounds",  "1",  "--verify",    "1MiB"};
  if (name.ends_with("-sni")) arguments.insert(arguments.end(), {"--sni", "5"});
  const Compared compared = compare_briefly(arguments);
  EXPECT_EQ(compared.status, 0) << compared.error << compared.output;
  EXPECT_EQ(count_lines(compared.output, Regex("^" + name + " .* 1/1$")), 5U) << compared.output;
}

INSTANTIATE_TEST_SUITE_P(Programs, ForwarderWithMore,
                         testing::Values("haproxy-sni", "nginx-sni", "sluice-sni",
                                         "haproxy-proxy-v2", "nginx-proxy-v1", "sluice-proxy-v2"),
                         [](const auto& about) {
                           return Regex("\\W").replaced(std::string(about.param), "_");
                         });

/// The plain forwarder beside those that route gets the same hellos.
TEST(NamesTest, AreInTheResult) {
  const TempDir folder;
  const std::string file = folder.file("result.json");
  Process process(bench({"--peers", "direct,sluice,sluice-sni,A/A", "--relative-to", "sluice",
                         "--sluice", environment("SLUICE_BINARY"), "--sni", "4", "--workloads",
                         "crr1", "--rounds", "1", "--time", "100ms", "--json", file}));
  ASSERT_EQ(process.wait(kLong), 0) << process.standard_error() << process.standard_output();
  EXPECT_EQ(json::parse(read_text(file)).at("settings").at("names"), 4);
  EXPECT_NE(process.standard_output().find("; names in TLS hellos: 4\n"), std::string::npos)
      << process.standard_output();
}

/// All connections go to the first server, where only those for n0 belong, the control connection
/// among them: it is the calls that show the mistake.
TEST(NamesTest, AWrongRouteVoidsTheRun) {
  const TempDir folder;
  const std::string script =
      folder.write("first.sh", "#!/bin/sh\nexec " + environment("SLUICE_BINARY") +
                                   " --listen 127.0.0.1:$1 --to 127.0.0.1:$2\n");
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  Process process(
      bench({"--peers", "sluice-sni", "--sluice", environment("SLUICE_BINARY"), "--contender",
             "first=" + script + " {listen} {to}", "--sni", "2", "--servers", "2", "--workloads",
             "crr1,rr2", "--rounds", "1", "--time", "100ms"}));
  EXPECT_EQ(process.wait(kLong), 1);
  EXPECT_EQ(count_lines(process.standard_output(),
                        Regex("^VOID: first, round 1: upstream: a connection for n1.bench.test "
                              "came to server 0 of 2, expected 1")),
            2U)
      << process.standard_output();
}

/// The name of a contender says which header it adds.
TEST(ProxyHeaderTest, AMissingOneVoidsTheRun) {
  const std::string sluice =
      environment("SLUICE_BINARY") + " --listen 127.0.0.1:{listen} --to=127.0.0.1:{to}";
  Process process(bench({"--peers", "direct", "--contender", "none-proxy-v2=" + sluice,
                         "--contender", "old-proxy-v2=" + sluice + " --proxy-out v1", "--contender",
                         "good-proxy-v1=" + sluice + " --proxy-out v1", "--workloads", "crr1",
                         "--rounds", "1", "--time", "100ms"}));
  EXPECT_EQ(process.wait(kLong), 1);
  const std::string output = process.standard_output();
  EXPECT_NE(output.find("VOID: none-proxy-v2, round 1: upstream: the PROXY header of a "
                        "connection: none, expected version 2"),
            std::string::npos)
      << output;
  EXPECT_NE(output.find("VOID: old-proxy-v2, round 1: upstream: the PROXY header of a "
                        "connection: version 1, expected version 2"),
            std::string::npos)
      << output;
  EXPECT_EQ(output.find("VOID: good"), std::string::npos) << output;
}

}  // namespace
}  // namespace sluice::test
