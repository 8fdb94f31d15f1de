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

#include "proxy/takeover/link.h"
#include "proxy/takeover/wire.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"
#include "tests/system/takeover_load.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;
using takeover::MessageType;

/// A successor that goes as far as a test wants, and then closes everything that it has, as one
/// does that is killed.
class Stub {
 public:
  explicit Stub(const std::string& path) : link_(connect_unix(path), takeover::wait_in_any_case) {}

  void send(MessageType type, json::object body = {}) {
    const Result<> sent = link_.send({type, std::move(body)}, Clock::now() + kLate);
    EXPECT_TRUE(sent.has_value()) << sent.error().to_string();
  }
  void hello() {
    send(MessageType::hello,
         {{"version", takeover::kWireVersion}, {"pid", std::int64_t{::getpid()}}});
  }
  /// The next message; what comes with it is kept.
  takeover::Message receive() {
    Result<takeover::Link::Received> received =
        link_.receive(takeover::kLongestState, Clock::now() + kLate);
    if (received.has_error()) {
      ADD_FAILURE() << received.error().to_string();
      return {};
    }
    for (OwnedFd& each : received->descriptors) descriptors_.push_back(std::move(each));
    return std::move(received->message);
  }
  /// Receives the whole state.
  void receive_state() {
    while (receive().type == MessageType::descriptors) continue;
  }
  [[nodiscard]] std::size_t descriptors() const { return descriptors_.size(); }

  /// Goes on to this step.
  void go_to(MessageType step) {
    hello();
    if (step == MessageType::hello) return;
    receive_state();
    if (step == MessageType::state) return;
    send(MessageType::ready);
    if (step == MessageType::ready) return;
    EXPECT_EQ(receive().type, MessageType::go);
  }

 private:
  takeover::Link link_;
  std::vector<OwnedFd> descriptors_;
};

DaemonOptions two_listeners() {
  DaemonOptions options;
  options.listeners = 2;
  return options;
}

class TakeoverStepsTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    daemon_ = std::make_unique<Daemon>(arguments(), two_listeners());
  }
  void TearDown() override {
    if (daemon_ == nullptr) return;
    EXPECT_EQ(daemon_->terminate(), 0) << daemon_->log();
  }
  [[nodiscard]] std::string socket() const { return folder_.file("takeover.sock"); }
  [[nodiscard]] std::vector<std::string> arguments(
      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"--listen",
                                    loopback_address(port_),
                                    "--listen",
                                    "unix:" + folder_.file("echo.sock"),
                                    "--to",
                                    "echo:",
                                    "--engine",
                                    GetParam(),
                                    "--workers",
                                    "2",
                                    "--takeover-socket",
                                    socket()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] std::vector<std::string> successor(
      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = arguments(more);
    all.insert(all.begin(), daemon_binary());
    all.emplace_back("--takeover");
    return all;
  }
  /// Both listeners serve a new client.
  void expect_service() const {
    EXPECT_TRUE(echoes(connect_tcp(port_).get()));
    EXPECT_TRUE(echoes(connect_unix(folder_.file("echo.sock")).get()));
  }

  TempDir folder_;
  std::uint16_t port_ = free_port();
  std::unique_ptr<Daemon> daemon_;
};

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
  EXPECT_EQ(stub.descriptors(), 0U);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("takeover_refused.*uid=65534")));
  expect_service();
}

TEST_P(TakeoverStepsTest, ASuccessorThatIsKilledLeavesTheOldProcessServing) {
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

TEST_P(TakeoverStepsTest, WhoConnectsAsASuccessorDiesIsServedThoughNobodyComesAfter) {
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

TEST_P(TakeoverStepsTest, ASignalToASuccessorThatIsNotInChargeLeavesTheOldProcessServing) {
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

TEST_P(TakeoverStepsTest, IfTheOldProcessIsKilledTheSuccessorGoesOnAlone) {
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

TEST_P(TakeoverStepsTest, ASignalToTheOldProcessAfterGoLeavesTheSuccessorServing) {
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

TEST_P(TakeoverStepsTest, AddressesThatTheSuccessorLacksAreClosedAndTheirPathsGo) {
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

TEST_P(TakeoverStepsTest, TakeoverDrainEndsWhatIsLeft) {
  EXPECT_EQ(daemon_->terminate(), 0);
  // What io_uring still holds of the old one does not matter then.
  port_ = free_port();
  auto old = std::make_unique<Daemon>(arguments({"--takeover-drain", "300ms"}), two_listeners());
  const OwnedFd held = connect_tcp(port_);
  ASSERT_TRUE(echoes(held.get()));
  daemon_ = std::make_unique<Daemon>(arguments({"--takeover"}), two_listeners());
  std::byte byte{};
  EXPECT_EQ(receive_some(held.get(), {&byte, 1}, kLate).ending, Ending::reset);
  EXPECT_EQ(old->process().wait(kLate), 0) << old->log();
}

TEST_P(TakeoverStepsTest, ASignalEndsAnOldProcessByItsDrainTimeout) {
  EXPECT_EQ(daemon_->terminate(), 0);
  // What io_uring still holds of the old one does not matter then.
  port_ = free_port();
  auto old = std::make_unique<Daemon>(arguments({"--drain-timeout", "300ms"}), two_listeners());
  const OwnedFd held = connect_tcp(port_);
  ASSERT_TRUE(echoes(held.get()));
  daemon_ = std::make_unique<Daemon>(arguments({"--takeover"}), two_listeners());
  ASSERT_TRUE(old->wait_for_log(Regex("handed_over"), kLate));
  ASSERT_TRUE(echoes(held.get()));
  old->process().signal(SIGTERM);
  std::byte byte{};
  EXPECT_EQ(receive_some(held.get(), {&byte, 1}, kLate).ending, Ending::reset);
  EXPECT_EQ(old->process().wait(kLate), 0) << old->log();
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
