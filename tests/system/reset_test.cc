// A stream that was cut must not look complete, and one that ended in order must be complete.

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kForth = 1;  ///< the seed of the stream towards the surviving end
constexpr std::uint64_t kBack = 2;

/// The longest wait for a reset to arrive. Only unread bytes may delay it.
constexpr seconds kResetNews{15};

/// Buffer sizes are left to the kernel. Loopback drops segments at a buffer made small, and the
/// sender's timer then backs off for half a minute.
constexpr SocketOptions kEthernet{.segment_bytes = kEthernetSegmentBytes};

struct Ends {
  OwnedFd cutting;    ///< the end that resets or closes
  OwnedFd surviving;  ///< the end that has to learn of it
};

Ends assign(Forwarded pair, bool client_cuts) {
  if (client_cuts) return {std::move(pair.client), std::move(pair.upstream)};
  return {std::move(pair.upstream), std::move(pair.client)};
}

std::string name_of_side(bool client_cuts) { return client_cuts ? "client" : "upstream"; }

/// Sends the bytes that fit at once.
std::uint64_t send_now(int fd, Pattern pattern, std::uint64_t offset, std::size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  pattern.fill(offset, bytes);
  const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent > 0 ? static_cast<std::uint64_t>(sent) : 0;
}

/// Random bytes both ways at once, then the cut, in the middle of the exchange.
std::uint64_t exchange_and_cut(Ends& ends, std::mt19937_64& random) {
  const Pattern forth(kForth);
  const Pattern back(kBack);
  PatternChecker returned(back);
  std::uint64_t forth_bytes = 0;
  std::uint64_t back_bytes = 0;
  std::vector<std::byte> into(1 << 16);
  const auto below = [&](std::size_t bound) { return 1 + random() % bound; };
  for (std::uint64_t rounds = random() % 8; rounds > 0; --rounds) {
    forth_bytes += send_now(ends.cutting.get(), forth, forth_bytes, below(60'000));
    back_bytes += send_now(ends.surviving.get(), back, back_bytes, below(60'000));
    const ssize_t got = ::recv(ends.cutting.get(), into.data(), below(into.size()), MSG_DONTWAIT);
    if (got > 0) returned.take(std::span(into).first(static_cast<std::size_t>(got)));
  }
  forth_bytes += send_now(ends.cutting.get(), forth, forth_bytes, below(200'000));
  back_bytes += send_now(ends.surviving.get(), back, back_bytes, below(400'000));
  EXPECT_FALSE(returned.mismatch().has_value());
  reset(std::move(ends.cutting));
  return forth_bytes;
}

/// Reads to the end while still sending, like an application that has not noticed yet. If a send
/// takes the error away, recv no longer reports it, so such an error counts as the reset.
Ending read_while_sending(int fd, PatternChecker& checker) {
  std::array<std::byte, 4096> junk{};
  const auto deadline = std::chrono::steady_clock::now() + kResetNews;
  while (std::chrono::steady_clock::now() < deadline) {
    const Ending ending = read_pattern(fd, checker, {.timeout = milliseconds(0)});
    if (ending != Ending::timed_out) return ending;
    pollfd polled{.fd = fd, .events = POLLIN | POLLOUT, .revents = 0};
    ::poll(&polled, 1, 100);
    const ssize_t sent = ::send(fd, junk.data(), junk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == ECONNRESET) return Ending::reset;
  }
  return Ending::timed_out;
}

class ResetTest : public ForwardingTest {
 protected:
  void cut_streams(bool client_cuts);
  void cut_behind_back_pressure(bool client_cuts);
  void read_late_and_slowly(bool client_sends);
};

void ResetTest::cut_streams(bool client_cuts) {
  start();
  std::mt19937_64 random(seed());
  const int tries = by_scale(50, 300, 10'000);
  std::map<Ending, int> wrong;
  for (int i = 0; i < tries && wrong.size() < 3; ++i) {
    // One in four is cut while the daemon may not know yet that it is connected.
    Ends ends = assign(i % 4 == 0 ? forward_one() : forward_established(), client_cuts);
    const std::uint64_t sent_bytes = exchange_and_cut(ends, random);
    PatternChecker received{Pattern(kForth)};
    const Ending ending =
        random() % 2 == 0 ? read_pattern(ends.surviving.get(), received, {.timeout = kResetNews})
                          : read_while_sending(ends.surviving.get(), received);
    if (ending != Ending::reset) ++wrong[ending];
    ASSERT_FALSE(received.mismatch().has_value()) << "at offset " << *received.mismatch();
    ASSERT_LE(received.received_bytes(), sent_bytes);
    if (ending == Ending::timed_out) break;
  }
  for (const auto& [ending, count] : wrong) {
    ADD_FAILURE() << count << " of " << tries << " streams that the " << name_of_side(client_cuts)
                  << " cut ended in: " << testing::PrintToString(ending);
  }
  const auto ends = daemon_->wait_for_ends(static_cast<std::size_t>(tries));
  ASSERT_EQ(ends.size(), static_cast<std::size_t>(tries)) << "connections logged";
  for (const ConnectionEnd& end : ends) {
    ASSERT_EQ(end.reason, name_of_side(client_cuts) + "_reset") << end.line;
  }
}

TEST_P(ResetTest, StreamCutByTheClientNeverEndsInACleanEof) { cut_streams(true); }
TEST_P(ResetTest, StreamCutByTheUpstreamNeverEndsInACleanEof) { cut_streams(false); }

/// The reader is far behind when the writer resets. It gets everything that the daemon's kernel had
/// acknowledged, and only then the reset.
void ResetTest::cut_behind_back_pressure(bool client_cuts) {
  start();
  std::mt19937_64 random(seed());
  for (int i = 0; i < by_scale(2, 6, 60); ++i) {
    Ends ends = assign(forward_established(kEthernet, kEthernet), client_cuts);
    if (i % 2 == 1)
      send_until_full(ends.surviving.get(), Pattern(kBack), 1 << 26, milliseconds(50));
    const std::uint64_t limit = i % 3 == 0 ? 1 + random() % 3'000'000 : 1 << 26;
    const std::uint64_t sent_bytes =
        send_until_full(ends.cutting.get(), Pattern(kForth), limit, milliseconds(50));
    const std::uint64_t acknowledged = sent_bytes - unacknowledged_bytes(ends.cutting.get());
    reset(std::move(ends.cutting));
    // Not needed below, but gives the daemon time to go wrong.
    static_cast<void>(daemon_->wait_until_quiet(milliseconds(500)));
    PatternChecker received{Pattern(kForth)};
    const Ending ending = read_pattern(ends.surviving.get(), received, {.timeout = kResetNews});
    EXPECT_EQ(ending, Ending::reset);
    EXPECT_FALSE(received.mismatch().has_value());
    EXPECT_GE(received.received_bytes(), acknowledged);
    EXPECT_LE(received.received_bytes(), sent_bytes);
  }
}

TEST_P(ResetTest, ClientResetBehindBackPressureComesAfterWhatWasAcknowledged) {
  cut_behind_back_pressure(true);
}
TEST_P(ResetTest, UpstreamResetBehindBackPressureComesAfterWhatWasAcknowledged) {
  cut_behind_back_pressure(false);
}

/// All buffers are full, and the sender has closed. Only then is the first byte read.
void ResetTest::read_late_and_slowly(bool client_sends) {
  start();
  std::mt19937_64 random(seed());
  for (int i = 0; i < by_scale(2, 4, 40); ++i) {
    Ends ends = assign(forward_established(kEthernet, kEthernet), client_sends);
    const std::uint64_t limit = i < 2 ? 1 << 26 : 1 + random() % 1'000'000;
    const std::uint64_t sent_bytes =
        send_until_full(ends.cutting.get(), Pattern(kForth), limit, milliseconds(100));
    if (i % 2 == 1) {
      // With an end in both directions the daemon waits only for its own sends.
      finish_sending(ends.surviving.get());
      PatternChecker nothing{Pattern(kBack)};
      EXPECT_EQ(read_pattern(ends.cutting.get(), nothing), Ending::eof);
    }
    ends.cutting.reset();
    EXPECT_TRUE(daemon_->wait_until_quiet()) << "it spins while nobody reads";
    PatternChecker received{Pattern(kForth)};
    const Ending ending =
        read_pattern(ends.surviving.get(), received, {.read_bytes = 1 + random() % 9'000});
    EXPECT_EQ(ending, Ending::eof);
    EXPECT_FALSE(received.mismatch().has_value());
    EXPECT_EQ(received.received_bytes(), sent_bytes);
  }
}

TEST_P(ResetTest, LateAndSlowUpstreamLosesNothingAfterTheClientClosed) {
  read_late_and_slowly(true);
}
TEST_P(ResetTest, LateAndSlowClientLosesNothingAfterTheUpstreamClosed) {
  read_late_and_slowly(false);
}

/// The upstream has answered and closed. Further bytes from the client cause a reset there, which
/// must not destroy the answer on its way.
TEST_P(ResetTest, AnswerIsCompleteThoughTheClientSendsOnToAClosedUpstream) {
  start();
  for (std::uint64_t i = 0; i < by_scale<std::uint64_t>(2, 10, 100); ++i) {
    Forwarded pair = forward_established(kEthernet);
    const std::uint64_t sent_bytes =
        send_until_full(pair.upstream.get(), Pattern(kForth), 300'000, milliseconds(50));
    ASSERT_TRUE(wait_until([&] { return unacknowledged_bytes(pair.upstream.get()) == 0; }));
    pair.upstream.reset();
    ASSERT_TRUE(send_pattern(pair.client.get(), Pattern(kBack), 0, 1 + 10'000 * i));
    EXPECT_TRUE(daemon_->wait_until_quiet()) << "it spins while nobody reads";
    PatternChecker received{Pattern(kForth)};
    const Ending ending = read_pattern(pair.client.get(), received);
    EXPECT_NE(ending, Ending::timed_out);
    EXPECT_FALSE(received.mismatch().has_value());
    EXPECT_EQ(received.received_bytes(), sent_bytes);
  }
}

/// The upstream resets so soon that the daemon sees connection, bytes and reset at once.
TEST_P(ResetTest, AnswerOfAnUpstreamThatResetsAtOnceArrives) {
  start();
  constexpr std::uint64_t kAnswer = 20'000;
  std::uint64_t lost = 0;
  const int tries = by_scale(50, 300, 3'000);
  for (int i = 0; i < tries; ++i) {
    Forwarded pair = forward_one();
    ASSERT_TRUE(send_pattern(pair.upstream.get(), Pattern(kForth), 0, kAnswer));
    ASSERT_TRUE(wait_until([&] { return unacknowledged_bytes(pair.upstream.get()) == 0; }));
    reset(std::move(pair.upstream));
    PatternChecker received{Pattern(kForth)};
    EXPECT_EQ(read_pattern(pair.client.get(), received, {.timeout = kResetNews}), Ending::reset);
    EXPECT_FALSE(received.mismatch().has_value());
    lost += received.received_bytes() == kAnswer ? 0U : 1U;
  }
  EXPECT_EQ(lost, 0U) << "of " << tries << " answers that the daemon's kernel had acknowledged";
}

INSTANTIATE_TEST_SUITE_P(EveryMode, ResetTest, testing::ValuesIn(every_mode()), name_of_mode);

/// Takes as long as the deadline, so it does not run in every mode.
class ResetDeadlineTest : public ResetTest {};

/// The daemon ends such a connection in bounded time, even if neither side does anything.
TEST_P(ResetDeadlineTest, ReaderThatNeverReadsCannotKeepACutConnection) {
  start();
  Forwarded pair = forward_established({}, kEthernet);
  send_until_full(pair.client.get(), Pattern(kForth), 1 << 26, milliseconds(50));
  reset(std::move(pair.client));
  const auto ends = daemon_->wait_for_ends(1, seconds(45));
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "client_reset") << ends[0].line;
  PatternChecker received{Pattern(kForth)};
  EXPECT_EQ(read_pattern(pair.upstream.get(), received), Ending::reset);
  EXPECT_FALSE(received.mismatch().has_value());
}

std::vector<Mode> both_engines() { return {{"uring", "auto"}, {"epoll", "auto"}}; }
INSTANTIATE_TEST_SUITE_P(BothEngines, ResetDeadlineTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
