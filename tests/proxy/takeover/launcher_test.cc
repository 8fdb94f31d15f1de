#include "proxy/takeover/launcher.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temp_dir.h"

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

TEST(TakeoverOwnProgram, KeepsTheSymbolicLinkByWhichItWasStarted) {
  const test::TempDir folder;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string current = folder.file("current");
  std::filesystem::create_symlink(self, current);
  EXPECT_EQ(own_program(current), current);
  EXPECT_EQ(own_program(std::filesystem::relative(current).string()),
            std::filesystem::absolute(std::filesystem::relative(current)).string());
  // A name leads through $PATH.
  const std::string before = std::getenv("PATH");
  ASSERT_EQ(::setenv("PATH", ("/nowhere:" + folder.path() + ":" + before).c_str(), 1), 0);
  EXPECT_EQ(own_program("current"), current);
  ASSERT_EQ(::setenv("PATH", before.c_str(), 1), 0);
  // Whatever else argv[0] says.
  for (const char* other : {"/bin/sh", "sh", "/nowhere/sluice", "nowhere", ""}) {
    EXPECT_EQ(own_program(other), self) << other;
  }
}

}  // namespace
}  // namespace sluice::takeover
