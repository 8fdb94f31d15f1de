// Test suites of other projects, through the daemon, and replayed to fresh servers: answers differ
// only in what each server makes anew.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/regex.h"
#include "tests/system/programs.h"
#include "tests/system/replay_program.h"
#include "tests/system/replayed.h"

namespace sluice::test {
namespace {

// --- memcached: libmemcached's suite for servers, of both protocols

class ReplayMemcachedTest : public ReplayProgramTest {
 protected:
  [[nodiscard]] std::unique_ptr<Process> memcached(std::uint16_t port) const {
    auto server = std::make_unique<Process>(std::vector<std::string>{
        "memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", std::to_string(port)});
    wait_for_listener(*server, port);
    return server;
  }
};

// Only what `stat` answers differs: the process, its times, its memory, and counters that depend on
// in which second something came. Its rows are lines or, in the binary protocol, messages.
TEST_P(ReplayMemcachedTest, OnlyTheStatisticsOfItsSuiteDiffer) {
  SLUICE_NEEDS_PROGRAM("memcached");
  SLUICE_NEEDS_PROGRAM("memccapable");
  const std::uint16_t first_port = free_port();
  const std::unique_ptr<Process> first = memcached(first_port);
  start_recording(first_port);
  const std::string report = run_program({"memccapable", "-h", "127.0.0.1", "-p", entrance()});
  EXPECT_NE(report.find("All tests passed"), std::string::npos) << report;
  EXPECT_GT(count_lines(report, Regex("\\[pass\\]")), 50U) << report;
  end_recording();
  const std::vector<std::string> compares{"--wait-responses", "--compare", "--speed", "max"};
  const std::uint16_t second_port = free_port();
  const std::unique_ptr<Process> second = memcached(second_port);
  EXPECT_EQ(replay_to(second_port, compares).status, 6) << "processes have other numbers";
  std::vector<std::string> masks = compares;
  masks.insert(masks.end(),
               {"--ignore-pattern", "STAT .*", "--ignore-pattern", "(?s)\\x81\\x10.{22}[^\\x81]*"});
  const std::uint16_t third_port = free_port();
  const std::unique_ptr<Process> third = memcached(third_port);
  const Replayed replayed = replay_to(third_port, masks);
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(replayed.report.at("compare").at("connections").to_number<int>(), 5);
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, ReplayMemcachedTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
