#include "proxy/system/watchdog.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/endpoint.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

/// A watchdog of two parts that answer when the test lets them.
class WatchdogTest : public testing::Test {
 protected:
  WatchdogTest() {
    const Endpoint endpoint = make_endpoint(UnixEndpoint{folder_.file("notify")});
    EXPECT_EQ(::bind(manager_.get(), endpoint.data(), endpoint.size_bytes), 0);
  }
  Watchdog::Part part(const std::string& name) {
    return {name, [this](std::function<void()> answer) { owed_.push_back(std::move(answer)); }};
  }
  /// How often the watchdog was reset since the last call.
  int resets() {
    char text[64];
    int count = 0;
    while (::recv(manager_.get(), text, sizeof text, MSG_DONTWAIT) > 0) ++count;
    return count;
  }
  void answer(std::size_t part) { std::exchange(owed_.at(part), nullptr)(); }

  test::TempDir folder_;
  OwnedFd manager_{::socket(AF_UNIX, SOCK_DGRAM, 0)};
  Notify notify_{folder_.file("notify")};
  std::vector<std::function<void()>> owed_;
  Watchdog watchdog_{
      notify_, {part("a"), part("b")}, [](const std::function<void()>& task) { task(); }};
};

TEST_F(WatchdogTest, IsResetOnceEveryPartHasAnswered) {
  watchdog_.look();
  ASSERT_EQ(owed_.size(), 2U);
  answer(1);
  EXPECT_EQ(resets(), 0);
  answer(0);
  EXPECT_EQ(resets(), 1);
}

TEST_F(WatchdogTest, AsksEveryOtherTime) {
  for (int i = 0; i < 6; ++i) {
    watchdog_.look();
    for (const auto& each : std::exchange(owed_, {})) each();
  }
  EXPECT_EQ(resets(), 3);
}

TEST_F(WatchdogTest, APartThatOwesAnAnswerIsNotAskedAgainAndCanAnswerLate) {
  watchdog_.look();
  answer(0);
  for (int i = 0; i < 5; ++i) watchdog_.look();
  EXPECT_EQ(owed_.size(), 2U);
  EXPECT_EQ(resets(), 0);
  answer(1);
  EXPECT_EQ(resets(), 1);
  owed_.clear();
  watchdog_.look();
  watchdog_.look();
  EXPECT_EQ(owed_.size(), 2U) << "the next round";
}

}  // namespace
}  // namespace sluice
