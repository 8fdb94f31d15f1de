// Takeovers that fail at each step. The successor is mostly a stub that speaks its side of the
// link.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/takeover/wire.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"
#include "tests/system/takeover_fixture.h"
#include "tests/system/takeover_load.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;
using takeover::MessageType;

class TakeoverStepsTest : public TakeoverFixture {};

INSTANTIATE_TEST_SUITE_P(Engines, TakeoverStepsTest, testing::Values("uring", "epoll"),
                         [](const auto& engine) { return engine.param; });

TEST_P(TakeoverStepsTest, ASuccessorThatEndsAtAnyStepLeavesTheOldProcessServing) {
  EchoLoad load(port_, 2, 2);
  std::size_t failures = 0;
  for (const MessageType step :
       {MessageType::hello, MessageType::state, MessageType::ready, MessageType::go}) {
    {
      Stub stub(socket());
      stub.go_to(step);
    }
    ++failures;
    ASSERT_TRUE(wait_until([&] {
      return count_lines(daemon_->log(), Regex("takeover_failed")) == failures;
    })) << daemon_->log();
    expect_service();
    EXPECT_TRUE(load.goes_on());
  }
  EXPECT_EQ(load.stop(), "");
}

TEST_P(TakeoverStepsTest, ClientsThatComeAfterGoWaitForWhoeverAccepts) {
  OwnedFd client;
  {
    Stub stub(socket());
    stub.go_to(MessageType::go);
    client = connect_tcp(port_);
    ASSERT_TRUE(send_all(client.get(), "x"));
    EXPECT_FALSE(readable_within(client.get(), 200ms));
  }
  EXPECT_EQ(receive_text(client.get(), 1), "x");
}

TEST_P(TakeoverStepsTest, ASuccessorThatSaysWhyItFailsIsQuoted) {
  Stub stub(socket());
  stub.go_to(MessageType::state);
  stub.send(MessageType::failed, {{"reason", "no room"}});
  EXPECT_TRUE(daemon_->wait_for_log(Regex("takeover_failed.*no room")));
  EXPECT_EQ(stub.receive().type, MessageType::refused);
  expect_service();
}

TEST_P(TakeoverStepsTest, WhatIsOutOfTurnOrNoMessageEndsTheTakeover) {
  {
    Stub stub(socket());
    stub.go_to(MessageType::state);
    stub.send(MessageType::done);
    EXPECT_EQ(stub.receive().type, MessageType::refused);
  }
  {
    const OwnedFd noise = connect_unix(socket());
    ASSERT_TRUE(send_all(noise.get(), std::string(100, 'x')));
    static_cast<void>(receive_text(noise.get(), 1));
  }
  {
    Stub stub(socket());
    stub.send(MessageType::hello, {{"version", 99}});
    EXPECT_EQ(stub.receive().type, MessageType::refused);
  }
  expect_service();
}

TEST_P(TakeoverStepsTest, OfTwoAtOnceTheSecondIsRefused) {
  Stub first(socket());
  first.go_to(MessageType::state);
  Process second(successor());
  EXPECT_EQ(second.wait(kLate), 1);
  EXPECT_EQ(second.standard_error(), "sluice: takeover: refused: another takeover is going on\n");
  first.send(MessageType::ready);
  EXPECT_EQ(first.receive().type, MessageType::go);
}

TEST_P(TakeoverStepsTest, ASuccessorWithABadFileOrAnAddressInUseExitsWithOneLine) {
  const Listener taken = listen_tcp();
  Process in_use(successor({"--listen", loopback_address(taken.port)}));
  EXPECT_EQ(in_use.wait(kLate), 1);
  EXPECT_EQ(in_use.standard_error(),
            "sluice: bind " + loopback_address(taken.port) + ": Address already in use\n");
  EXPECT_TRUE(daemon_->wait_for_log(Regex("takeover_failed.*Address already in use")));
  const std::string file = folder_.write("bad.toml", "[defaults]\nidle-timeut = \"1h\"\n");
  Process bad({daemon_binary(), "--config", file, "--takeover", "--takeover-socket", socket()});
  EXPECT_EQ(bad.wait(kLate), 1);
  expect_service();
}

TEST_P(TakeoverStepsTest, ASuccessorThatCannotBindItsTakeoverSocketAcceptsNobody) {
  EchoLoad load(port_, 2, 1);
  const std::string missing = folder_.file("missing/takeover.sock");
  auto command = successor();
  *std::ranges::find(command, socket()) = missing;
  ProcessOptions options;
  options.environment = {"SLUICE_TAKEOVER_SOCKET=" + socket()};
  Process process(command, options);
  EXPECT_EQ(process.wait(kLate), 1);
  EXPECT_NE(process.standard_error().find("sluice: bind unix:" + missing + ": No such file"),
            std::string::npos)
      << process.standard_error();
  EXPECT_TRUE(daemon_->wait_for_log(Regex("takeover_failed.*No such file")));
  EXPECT_TRUE(load.goes_on());
  EXPECT_EQ(load.stop(), "");
}

TEST_P(TakeoverStepsTest, WhereNobodyListensThereIsNothingToTakeOver) {
  const std::string nobody = folder_.file("nobody.sock");
  Process lonely({daemon_binary(), "--listen", "127.0.0.1:0", "--to", "echo:", "--takeover-socket",
                  nobody, "--takeover"});
  EXPECT_EQ(lonely.wait(kLate), 1);
  EXPECT_EQ(lonely.standard_error(),
            "sluice: takeover: connect unix:" + nobody + ": No such file or directory\n");
}

TEST_P(TakeoverStepsTest, AControlThreadThatAnswersTooLateDoesNotBlockTheNextTakeover) {
  const pid_t control = daemon_->process().pid();
  if (::ptrace(PTRACE_SEIZE, control, nullptr, nullptr) != 0) GTEST_SKIP() << "no ptrace here";
  ASSERT_EQ(::ptrace(PTRACE_INTERRUPT, control, nullptr, nullptr), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(control, &status, __WALL), control);
  {
    Stub stub(socket());
    stub.hello();
    const takeover::Message refusal = stub.receive();
    EXPECT_EQ(refusal.type, MessageType::refused);
    EXPECT_EQ(takeover::text_of(refusal.body, "reason"), "a thread of the daemon does not answer");
  }
  ASSERT_EQ(::ptrace(PTRACE_DETACH, control, nullptr, nullptr), 0);
  Stub stub(socket());
  stub.go_to(MessageType::go);
}

TEST_P(TakeoverStepsTest, AnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  // Even if somebody has opened the path.
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  struct stat about {};
  ASSERT_EQ(::stat(socket().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600U);
  ASSERT_EQ(::chmod(socket().c_str(), 0666), 0);
  const uid_t before = ::geteuid();
  ASSERT_EQ(::seteuid(65534), 0);
  Stub stub(socket());
  ASSERT_EQ(::seteuid(before), 0);
  const takeover::Message refusal = stub.receive();
  EXPECT_EQ(refusal.type, MessageType::refused);
  EXPECT_EQ(takeover::text_of(refusal.body, "reason"),
            "only root and the user of the running process can take over");
  EXPECT_TRUE(stub.take_descriptors().empty());
  EXPECT_TRUE(daemon_->wait_for_log(Regex("takeover_refused.*uid=65534")));
  expect_service();
}

/// The thread that gives up is the same with each engine, so one engine is enough.
class TakeoverPatienceTest : public TakeoverStepsTest {};
INSTANTIATE_TEST_SUITE_P(OneEngine, TakeoverPatienceTest, testing::Values("epoll"));

TEST_P(TakeoverPatienceTest, ASuccessorThatHangsIsGivenUpAfterHalfAMinute) {
  if (scale() == Scale::quick) GTEST_SKIP() << "it takes 30 s";
  Stub stub(socket());
  stub.go_to(MessageType::go);
  EXPECT_EQ(stub.receive().type, MessageType::refused);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("takeover_failed.*too long")));
  expect_service();
}

}  // namespace
}  // namespace sluice::test
