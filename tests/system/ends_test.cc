// How a connection ends without a reset: half by half, by time-outs, or before it began.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/silence.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using SteadyClock = std::chrono::steady_clock;

constexpr std::uint64_t kForth = 1;
constexpr std::uint64_t kBack = 2;

class EndsTest : public ForwardingTest {
 protected:
  /// The end of the only connection, as logged.
  [[nodiscard]] ConnectionEnd only_end() {
    const std::vector<ConnectionEnd> ends = daemon_->wait_for_ends(1);
    EXPECT_EQ(ends.size(), 1U);
    return ends.empty() ? ConnectionEnd{} : ends.front();
  }
  void answer_slowly(bool client_asks);
  void read_slower_than(const std::string& timeout);
};

/// The asking side finishes at once. The answer takes longer than the half-close time-out, which
/// must count from byte to byte.
void EndsTest::answer_slowly(bool client_asks) {
  start({"--half-close-timeout", "3s"});
  constexpr seconds kTimeout(3);
  constexpr std::uint64_t kQuestion = 100'000;
  constexpr std::uint64_t kPiece = 200'000;
  constexpr std::uint64_t kPieces = 8;
  Forwarded pair = forward_one();
  OwnedFd& asking = client_asks ? pair.client : pair.upstream;
  OwnedFd& answering = client_asks ? pair.upstream : pair.client;
  ASSERT_TRUE(send_pattern(asking.get(), Pattern(kForth), 0, kQuestion));
  Silence silence;
  finish_sending(asking.get());
  PatternChecker question{Pattern(kForth)};
  ASSERT_EQ(read_pattern(answering.get(), question), Ending::eof);
  EXPECT_EQ(question.received_bytes(), kQuestion);
  PatternChecker answer{Pattern(kBack)};
  Ending ending = Ending::open;
  for (std::uint64_t sent = 0; sent < kPieces * kPiece && ending == Ending::open; sent += kPiece) {
    // The pace of the answer; the test waits for nothing here.
    std::this_thread::sleep_for(milliseconds(500));
    silence.sending();
    static_cast<void>(send_pattern(answering.get(), Pattern(kBack), sent, kPiece));
    ending = read_pattern(asking.get(), answer, {.stop_after_bytes = sent + kPiece});
    silence.looked();
  }
  if (silence.reached(kTimeout)) GTEST_SKIP() << "the machine stood still";
  ASSERT_EQ(ending, Ending::open);
  finish_sending(answering.get());
  EXPECT_EQ(read_pattern(asking.get(), answer), Ending::eof);
  EXPECT_EQ(answer.received_bytes(), kPieces * kPiece);
  EXPECT_FALSE(answer.mismatch().has_value());
  EXPECT_FALSE(question.mismatch().has_value());
  EXPECT_EQ(only_end().reason, "closed");
}

TEST_P(EndsTest, UpstreamAnswersLongAndSlowlyAfterTheClientFinished) { answer_slowly(true); }
TEST_P(EndsTest, ClientAnswersLongAndSlowlyAfterTheUpstreamFinished) { answer_slowly(false); }

TEST_P(EndsTest, HalfClosedConnectionWithoutABytePassesAway) {
  start({"--half-close-timeout", "400ms"});
  Forwarded pair = forward_established();
  finish_sending(pair.client.get());
  PatternChecker nothing{Pattern(kForth)};
  EXPECT_EQ(read_pattern(pair.upstream.get(), nothing), Ending::eof);
  EXPECT_NE(read_pattern(pair.client.get(), nothing), Ending::timed_out);
  EXPECT_EQ(only_end().reason, "half_close_timeout");
}

/// The answer is complete long before its reader has it. A time-out must not destroy what still
/// leaves the send queue.
void EndsTest::read_slower_than(const std::string& timeout) {
  constexpr std::uint64_t kBytes = 4'000'000;
  start({timeout, "1s"});
  Silence silence;
  Forwarded pair = forward_one({.receive_buffer_bytes = 16 << 10});
  const bool sent = send_pattern(pair.upstream.get(), Pattern(kBack), 0, kBytes);
  silence.looked();
  if (silence.reached(seconds(1))) GTEST_SKIP() << "the machine stood still";
  ASSERT_TRUE(sent);
  if (timeout == "--half-close-timeout") finish_sending(pair.upstream.get());
  PatternChecker answer{Pattern(kBack)};
  const auto began = SteadyClock::now();
  Ending ending = Ending::open;
  for (std::uint64_t taken = 0; taken < kBytes && ending == Ending::open; taken += kBytes / 20) {
    silence.sending();
    ending = read_pattern(pair.client.get(), answer, {.stop_after_bytes = taken + kBytes / 20});
    silence.looked();
    // The pace of the reader; the test waits for nothing here.
    std::this_thread::sleep_for(milliseconds(150));
  }
  if (silence.reached(seconds(1))) GTEST_SKIP() << "the machine stood still";
  EXPECT_EQ(ending, Ending::open);
  EXPECT_GE(SteadyClock::now() - began, milliseconds(2000));
  EXPECT_EQ(answer.received_bytes(), kBytes);
  EXPECT_FALSE(answer.mismatch().has_value());
}

TEST_P(EndsTest, AnswerThatIsReadSlowlyIsNotCutByTheHalfCloseTimeout) {
  read_slower_than("--half-close-timeout");
}
TEST_P(EndsTest, AnswerThatIsReadSlowlyIsNotCutByTheIdleTimeout) {
  read_slower_than("--idle-timeout");
}

TEST_P(EndsTest, IdleConnectionEndsButABusyOneDoesNot) {
  start({"--idle-timeout", "3s"});
  constexpr seconds kTimeout(3);
  const auto began = SteadyClock::now();
  Forwarded idle = forward_established();
  Silence silence;
  Forwarded busy = forward_established();
  auto ended = SteadyClock::time_point::max();
  bool arrives = true;
  // Longer than the time-out, and until the idle connection has ended.
  for (auto now = began;
       arrives && (now < began + kTimeout + seconds(1) || now < ended) && now < began + kPatience;
       now = SteadyClock::now()) {
    silence.sending();
    arrives = send_all(busy.client.get(), "x") && receive_text(busy.upstream.get(), 1) == "x";
    silence.looked();
    std::this_thread::sleep_for(milliseconds(200));
    if (readable_within(idle.client.get(), milliseconds(0))) {
      ended = std::min(ended, SteadyClock::now());
    }
  }
  ASSERT_NE(ended, SteadyClock::time_point::max()) << "the idle one does not end";
  if (silence.reached(kTimeout)) GTEST_SKIP() << "the machine stood still";
  EXPECT_TRUE(arrives);
  PatternChecker nothing{Pattern(kForth)};
  EXPECT_NE(read_pattern(idle.client.get(), nothing), Ending::timed_out);
  EXPECT_NE(read_pattern(idle.upstream.get(), nothing), Ending::timed_out);
  // The daemon reads the clock once a turn.
  EXPECT_GE(ended - began, kTimeout - milliseconds(20));
  const std::vector<ConnectionEnd> ends = daemon_->wait_for_ends(1);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "idle_timeout");
}

TEST_P(EndsTest, RefusedUpstreamResetsTheClientAndTheLogSaysWhy) {
  upstream_ = bind_tcp();
  start();
  for (int i = 0; i < 20; ++i) {
    const OwnedFd client = connect_tcp(daemon_->port());
    // A send that meets the reset takes its error away.
    if (i % 2 == 1 && !send_all(client.get(), "hello")) continue;
    PatternChecker nothing{Pattern(kForth)};
    EXPECT_EQ(read_pattern(client.get(), nothing, {.timeout = seconds(10)}), Ending::reset);
  }
  const std::vector<ConnectionEnd> ends = daemon_->wait_for_ends(20);
  EXPECT_EQ(ends.size(), 20U);
  for (const ConnectionEnd& end : ends) EXPECT_EQ(end.reason, "connect_refused") << end.line;
  EXPECT_TRUE(wait_until([&] {
    return daemon_->log().find("Connection refused") != std::string::npos;
  })) << "why it was not connected";
}

/// A listener whose queue is full drops further SYNs, so they are not answered.
TEST_P(EndsTest, UpstreamThatNeverAnswersTimesOut) {
  upstream_ = listen_tcp(0);
  std::vector<OwnedFd> queued;
  queued.push_back(connect_tcp(upstream_.port));
  start({"--connect-timeout", "500ms"});
  const auto began = SteadyClock::now();
  const OwnedFd client = connect_tcp(daemon_->port());
  PatternChecker nothing{Pattern(kForth)};
  EXPECT_EQ(read_pattern(client.get(), nothing), Ending::reset);
  const auto took = SteadyClock::now() - began;
  EXPECT_GE(took, milliseconds(450));
  EXPECT_LT(took, seconds(60));
  EXPECT_EQ(only_end().reason, "connect_timeout");
}

/// If localhost has an IPv6 address, too, that one refuses and the next has to be tried.
TEST_P(EndsTest, NameIsResolvedAndItsAddressesAreTried) {
  daemon_ = std::make_unique<Daemon>(
      route_arguments(GetParam(), "localhost:" + std::to_string(upstream_.port)));
  descriptors_before_ = descriptors();
  for (int i = 0; i < 5; ++i) {
    Forwarded pair = forward_one();
    ASSERT_TRUE(send_all(pair.client.get(), "hello"));
    EXPECT_EQ(receive_text(pair.upstream.get(), 5), "hello");
  }
}

std::vector<Mode> both_engines() { return {{"uring", "auto"}, {"epoll", "auto"}}; }
INSTANTIATE_TEST_SUITE_P(BothEngines, EndsTest, testing::ValuesIn(both_engines()), name_of_mode);

}  // namespace
}  // namespace sluice::test
