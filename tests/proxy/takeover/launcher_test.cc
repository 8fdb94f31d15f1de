#include "proxy/takeover/launcher.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sluice::takeover {
namespace {

using namespace std::chrono_literals;

using Answer = std::pair<pid_t, std::string>;

std::future<Answer> launch(Launcher& launcher) {
  const auto promise = std::make_shared<std::promise<Answer>>();
  launcher.launch("/nowhere", [promise](pid_t pid, const std::string& reason) {
    promise->set_value({pid, reason});
  });
  return promise->get_future();
}

TEST(TakeoverLauncher, OneThatNeverAsksIsGivenUpAndAnotherCanBeStarted) {
  // --takeover is $0 there.
  Launcher launcher("/bin/sh", {"sh", "-c", "exec sleep 1000"}, 50ms);
  std::vector<pid_t> pids;
  for (int i = 0; i < 2; ++i) {
    const auto [pid, reason] = launch(launcher).get();
    EXPECT_EQ(reason, "it did not take over in time");
    ASSERT_GT(pid, 0);
    pids.push_back(pid);
  }
  launcher.end();
  for (const pid_t pid : pids) EXPECT_EQ(::kill(pid, SIGKILL), 0);
}

TEST(TakeoverLauncher, OneThatEndsSaysHow) {
  Launcher launcher("/bin/sh", {"sh", "-c", "exit 3"}, 10min);
  EXPECT_EQ(launch(launcher).get().second, "it exited with status 3; its log says why");
}

}  // namespace
}  // namespace sluice::takeover
