// The capture of a daemon that runs, read by the tool meanwhile.

#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <regex>
#include <string>

#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/recorded.h"

namespace sluice::test {
namespace {

class CaptureLiveTest : public testing::TestWithParam<Mode> {
 protected:
  void SetUp() override {
    if (GetParam().engine == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    upstream_ = listen_tcp();
    daemon_ = std::make_unique<Daemon>(
        route_arguments(GetParam(), loopback_address(upstream_.port), {"--capture", directory_}));
  }
  [[nodiscard]] std::string listed() const {
    Process tool({capture_tool(), "ls", directory_});
    EXPECT_EQ(tool.wait(), 0) << tool.standard_error();
    return tool.standard_output();
  }

  TempDir folder_;
  std::string directory_ = folder_.file("capture");
  Listener upstream_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_P(CaptureLiveTest, FollowShowsWhatBecomesDurable) {
  Process follow({capture_tool(), "follow", directory_});
  const Forwarded pair = forward(daemon_->port(), upstream_.fd.get());
  ASSERT_TRUE(send_all(pair.client.get(), "a question"));
  EXPECT_TRUE(follow.wait_for_output_line(std::regex("client data 0[+]10")));
  EXPECT_TRUE(follow.wait_for_output_line(std::regex("^    a question$")));
  ASSERT_TRUE(send_all(pair.upstream.get(), "an answer"));
  EXPECT_TRUE(follow.wait_for_output_line(std::regex("upstream data 0[+]9")));
  ASSERT_TRUE(send_all(pair.client.get(), "more"));
  EXPECT_TRUE(follow.wait_for_output_line(std::regex("client data 10[+]4")));
  finish_sending(pair.client.get());
  finish_sending(pair.upstream.get());
  EXPECT_TRUE(follow.wait_for_output_line(std::regex("close closed")));
  EXPECT_EQ(daemon_->terminate(), 0) << daemon_->log();
  follow.signal(SIGINT);
  EXPECT_EQ(follow.wait(), 0) << follow.standard_error();
}

TEST_P(CaptureLiveTest, AConnectionIsOpenUntilTheDaemonIsKilled) {
  const Forwarded pair = forward(daemon_->port(), upstream_.fd.get());
  ASSERT_TRUE(send_all(pair.client.get(), "x"));
  EXPECT_TRUE(wait_until([&] { return listed().find(" open ") != std::string::npos; }));
  daemon_->process().signal(SIGKILL);
  EXPECT_EQ(daemon_->process().wait(), -SIGKILL);
  EXPECT_NE(listed().find(" cut "), std::string::npos) << listed();
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, CaptureLiveTest,
                         testing::Values(Mode{"uring", "auto"}, Mode{"epoll", "auto"}),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
