// Old and new processes that are killed, or get a signal, at any time of a takeover.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"
#include "tests/system/takeover_fixture.h"
#include "tests/system/takeover_load.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

class TakeoverSignalsTest : public TakeoverFixture {
 protected:
  struct Replaced {
    std::unique_ptr<Daemon> daemon;
    OwnedFd held;  ///< a connection that it still has
  };
  /// A daemon that ends what it has left after 300 ms, as `option` says, and that daemon_ replaces.
  [[nodiscard]] Replaced replaced_while_used(const std::string& option) {
    EXPECT_EQ(daemon_->terminate(), 0);
    // What io_uring still holds of the old one does not matter then.
    port_ = free_port();
    auto old = std::make_unique<Daemon>(arguments({option, "300ms"}), two_listeners());
    OwnedFd held = connect_tcp(port_);
    EXPECT_TRUE(echoes(held.get()));
    daemon_ = std::make_unique<Daemon>(arguments({"--takeover"}), two_listeners());
    return {std::move(old), std::move(held)};
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, TakeoverSignalsTest, testing::Values("uring", "epoll"),
                         [](const auto& engine) { return engine.param; });

TEST_P(TakeoverSignalsTest, ASuccessorThatIsKilledLeavesTheOldProcessServing) {
  EchoLoad load(port_, 0, 2);
  for (const auto delay : {0ms, 30ms, 100ms, 1'000ms}) {
    const std::size_t began = count_lines(daemon_->log(), Regex("takeover_began"));
    Process process(successor());
    ASSERT_TRUE(
        wait_until([&] { return count_lines(daemon_->log(), Regex("takeover_began")) > began; }));
    std::this_thread::sleep_for(delay);
    process.signal(SIGKILL);
    EXPECT_EQ(process.wait(kLate), -SIGKILL);
    ASSERT_TRUE(wait_until([&] {
      return count_lines(daemon_->log(), Regex("takeover_failed")) == began + 1;
    })) << daemon_->log();
    expect_service();
  }
  EXPECT_EQ(load.stop(), "");
}

TEST_P(TakeoverSignalsTest, WhoConnectsAsASuccessorDiesIsServedThoughNobodyComesAfter) {
  for (int round = 0; round < 5; ++round) {
    const std::size_t failures = count_lines(daemon_->log(), Regex("takeover_failed"));
    Daemon next(arguments({"--takeover"}), two_listeners());
    ASSERT_TRUE(next.wait_for_log(Regex(" started "), kLate));
    next.process().signal(SIGKILL);
    ASSERT_EQ(next.process().wait(kLate), -SIGKILL);
    std::vector<OwnedFd> clients;
    for (int i = 0; i < 4; ++i) {
      clients.push_back(connect_tcp(port_));
      ASSERT_TRUE(send_all(clients.back().get(), "x"));
    }
    for (const OwnedFd& each : clients) EXPECT_EQ(receive_text(each.get(), 1), "x") << round;
    ASSERT_TRUE(wait_until([&] {
      return count_lines(daemon_->log(), Regex("takeover_failed")) > failures;
    })) << daemon_->log();
  }
}

TEST_P(TakeoverSignalsTest, ASignalToASuccessorThatIsNotInChargeLeavesTheOldProcessServing) {
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{}, {"--lame-duck", "1m"}}) {
    const std::size_t failures = count_lines(daemon_->log(), Regex("takeover_failed"));
    std::vector<std::string> all = arguments(more);
    all.emplace_back("--takeover");
    Daemon next(all, two_listeners());
    // Only the successor accepts.
    OwnedFd held = connect_tcp(port_);
    ASSERT_TRUE(send_all(held.get(), "hold"));
    ASSERT_EQ(receive_text(held.get(), 4), "hold");
    next.process().signal(SIGTERM);
    ASSERT_TRUE(wait_until([&] {
      return count_lines(daemon_->log(), Regex("takeover_failed|handed_over")) > failures;
    })) << daemon_->log();
    if (daemon_->log().find("handed_over") != std::string::npos) {
      held.reset();
      GTEST_SKIP() << "too slow: the signal came after 3 s";
    }
    EXPECT_TRUE(daemon_->wait_for_log(Regex("takeover_failed.*the new process ends")));
    expect_service();
    // Its connection goes on meanwhile.
    ASSERT_TRUE(send_all(held.get(), "more"));
    EXPECT_EQ(receive_text(held.get(), 4), "more");
    held.reset();
    EXPECT_EQ(next.process().wait(kLate), 1) << next.log();
    expect_service();
  }
}

TEST_P(TakeoverSignalsTest, IfTheOldProcessIsKilledTheSuccessorGoesOnAlone) {
  auto next = std::make_unique<Daemon>(arguments({"--takeover"}), two_listeners());
  // It accepts already; the old one could still go on.
  daemon_->process().signal(SIGKILL);
  EXPECT_EQ(daemon_->process().wait(kLate), -SIGKILL);
  daemon_ = std::move(next);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("taken_over"), kLate)) << daemon_->log();
  expect_service();
  // The paths are its own, and it can hand them on.
  auto third = std::make_unique<Daemon>(arguments({"--takeover"}), two_listeners());
  EXPECT_TRUE(third->wait_for_log(Regex("taken_over"), kLate)) << third->log();
  EXPECT_EQ(daemon_->process().wait(kLate), 0);
  daemon_ = std::move(third);
  expect_service();
  EXPECT_EQ(daemon_->terminate(), 0);
  EXPECT_NE(::access(folder_.file("echo.sock").c_str(), F_OK), 0);
  EXPECT_NE(::access(socket().c_str(), F_OK), 0);
  daemon_.reset();
}

TEST_P(TakeoverSignalsTest, WhileTheOldProcessStandsStillTheSuccessorServesAndBeginsNoTakeover) {
  const std::string admin = folder_.file("admin.sock");
  auto next = std::make_unique<Daemon>(arguments({"--admin", "unix:" + admin, "--takeover"}),
                                       two_listeners());
  daemon_->process().signal(SIGSTOP);
  const bool in_time = count_lines(next->log(), Regex("taken_over")) == 0;
  const HttpAnswer answer =
      exchange(connect_unix(admin).get(), change_request("POST", "/v1/takeover"));
  expect_service();
  daemon_->process().signal(SIGCONT);
  EXPECT_TRUE(next->wait_for_log(Regex("taken_over"), kLate)) << next->log();
  EXPECT_EQ(daemon_->process().wait(kLate), 0);
  daemon_ = std::move(next);
  expect_service();
  if (!in_time) GTEST_SKIP() << "too slow: the signal came after 3 s";
  EXPECT_EQ(answer.status, 409) << answer.body;
  EXPECT_NE(answer.body.find("another takeover is going on"), std::string::npos) << answer.body;
}

TEST_P(TakeoverSignalsTest, ASignalToTheOldProcessAfterGoLeavesTheSuccessorServing) {
  for (const bool has_connection : {false, true}) {
    OwnedFd held;
    if (has_connection) {
      held = connect_tcp(port_);
      ASSERT_TRUE(send_all(held.get(), "hold"));
      ASSERT_EQ(receive_text(held.get(), 4), "hold");
    }
    auto next = std::make_unique<Daemon>(arguments({"--takeover"}), two_listeners());
    daemon_->process().signal(SIGTERM);
    EXPECT_TRUE(next->wait_for_log(Regex("taken_over"), kLate)) << next->log();
    held.reset();
    EXPECT_EQ(daemon_->process().wait(kLate), 0) << daemon_->log();
    EXPECT_EQ(count_lines(daemon_->log(), Regex("handed_over")), 1U) << daemon_->log();
    daemon_ = std::move(next);
    expect_service();
  }
  EXPECT_EQ(daemon_->terminate(), 0);
  EXPECT_NE(::access(folder_.file("echo.sock").c_str(), F_OK), 0);
  daemon_.reset();
}

TEST_P(TakeoverSignalsTest, AddressesThatTheSuccessorLacksAreClosedAndTheirPathsGo) {
  const std::uint16_t added = free_port();
  Daemon next({"--listen", loopback_address(port_), "--listen", loopback_address(added), "--to",
               "echo:", "--engine", GetParam(), "--takeover-socket", socket(), "--takeover"},
              two_listeners());
  EXPECT_TRUE(next.wait_for_log(Regex("taken_over"), kLate)) << next.log();
  EXPECT_EQ(daemon_->process().wait(kLate), 0);
  daemon_.reset();
  EXPECT_TRUE(echoes(connect_tcp(port_).get()));
  EXPECT_TRUE(echoes(connect_tcp(added).get()));
  EXPECT_TRUE(wait_until([&] { return ::access(folder_.file("echo.sock").c_str(), F_OK) != 0; }));
  EXPECT_EQ(next.terminate(), 0);
}

TEST_P(TakeoverSignalsTest, TakeoverDrainEndsWhatIsLeft) {
  const auto [old, held] = replaced_while_used("--takeover-drain");
  std::byte byte{};
  EXPECT_EQ(receive_some(held.get(), {&byte, 1}, kLate).ending, Ending::reset);
  EXPECT_EQ(old->process().wait(kLate), 0) << old->log();
}

TEST_P(TakeoverSignalsTest, ASignalEndsAnOldProcessByItsDrainTimeout) {
  const auto [old, held] = replaced_while_used("--drain-timeout");
  ASSERT_TRUE(old->wait_for_log(Regex("handed_over"), kLate));
  ASSERT_TRUE(echoes(held.get()));
  old->process().signal(SIGTERM);
  std::byte byte{};
  EXPECT_EQ(receive_some(held.get(), {&byte, 1}, kLate).ending, Ending::reset);
  EXPECT_EQ(old->process().wait(kLate), 0) << old->log();
  expect_service();
}

}  // namespace
}  // namespace sluice::test
