// A process that takes over from the one that runs.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"
#include "tests/system/takeover_load.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

/// Daemons that echo at one address, each of which can take over from the one before. The parameter
/// is the engine.
class TakeoverTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
  }

  [[nodiscard]] std::vector<std::string> arguments(
      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"--listen",
                                    "127.0.0.1:" + std::to_string(port_),
                                    "--to",
                                    "echo:",
                                    "--engine",
                                    GetParam(),
                                    "--takeover-socket",
                                    socket()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] std::string socket() const { return folder_.file("takeover.sock"); }
  [[nodiscard]] std::unique_ptr<Daemon> start(const std::vector<std::string>& more = {}) const {
    return std::make_unique<Daemon>(arguments(more));
  }
  /// A daemon that has taken over.
  [[nodiscard]] std::unique_ptr<Daemon> take_over(std::vector<std::string> more = {}) const {
    more.emplace_back("--takeover");
    auto daemon = start(more);
    EXPECT_TRUE(daemon->wait_for_log(Regex("taken_over"), kLate)) << daemon->log();
    return daemon;
  }

  TempDir folder_;
  const std::uint16_t port_ = free_port();
};

INSTANTIATE_TEST_SUITE_P(Engines, TakeoverTest, testing::Values("uring", "epoll"),
                         [](const auto& engine) { return engine.param; });

TEST_P(TakeoverTest, LosesNoClientAndNoByteWithOtherNumbersOfWorkers) {
  std::vector<std::unique_ptr<Daemon>> daemons;
  daemons.push_back(start({"--workers", "1"}));
  EchoLoad load(port_, 4, 2);
  for (const char* workers : {"4", "2", "1"}) {
    daemons.push_back(take_over({"--workers", workers}));
    const Daemon& before = **(daemons.end() - 2);
    const std::string pid = std::to_string(daemons.back()->process().pid());
    EXPECT_TRUE(before.wait_for_log(Regex("handed_over pid=" + pid), kLate)) << before.log();
    EXPECT_TRUE(load.goes_on()) << workers;
  }
  // The first has the streams; those between have nothing left.
  EXPECT_EQ(daemons[1]->process().wait(kLate), 0) << daemons[1]->log();
  EXPECT_EQ(daemons[2]->process().wait(kLate), 0) << daemons[2]->log();
  EXPECT_TRUE(daemons[0]->process().running());
  EXPECT_EQ(load.stop(), "");
  EXPECT_EQ(daemons[0]->process().wait(kLate), 0) << daemons[0]->log();
  EXPECT_EQ(daemons[3]->terminate(), 0) << daemons[3]->log();
}

}  // namespace
}  // namespace sluice::test
