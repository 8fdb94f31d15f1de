#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "tests/iolib/relay/relay_fixture.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::Ending;
using test::Pattern;

// A connection seen from the side that cuts it. Every test runs from both sides.
struct Sides {
  OwnedFd& cutter;
  OwnedFd& other;
  Pattern sent;     ///< by the cutter
  Pattern counter;  ///< what the other side sends
};
Sides sides(RelaySession& session, bool client_cuts) {
  if (client_cuts) return {session.client, session.upstream, kToUpstream, kToClient};
  return {session.upstream, session.client, kToClient, kToUpstream};
}

class ResetTest : public RelayTest {
 protected:
  // Runs `one_try` for both sides in turn.
  template <class Try>
  void from_either_side(const SessionOptions& options, Try one_try) {
    for (const bool client_cuts : {true, false}) {
      SCOPED_TRACE(client_cuts ? "cut by the client" : "cut by the upstream");
      RelaySession& session = start(options);
      one_try(session, sides(session, client_cuts));
      EXPECT_EQ(session.end(), client_cuts ? EndReason::client_reset : EndReason::upstream_reset);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, ResetTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

bool all_acknowledged(int fd) {
  return test::wait_until([fd] { return test::unacknowledged_bytes(fd) == 0; });
}

// --- Resets

TEST_P(ResetTest, AResetOfAnIdleConnectionReachesTheOtherSide) {
  from_either_side({}, [&](RelaySession&, const Sides& side) {
    test::reset(std::move(side.cutter));
    EXPECT_EQ(read_until(side.other.get(), side.sent, Ending::reset), 0U);
  });
}

TEST_P(ResetTest, WhatWasReceivedBeforeAResetIsDeliveredBeforeIt) {
  constexpr std::uint64_t kSize = 300'000;
  from_either_side({}, [&](RelaySession&, const Sides& side) {
    ASSERT_TRUE(test::send_pattern(side.cutter.get(), side.sent, 0, kSize));
    ASSERT_TRUE(all_acknowledged(side.cutter.get()));
    test::reset(std::move(side.cutter));
    EXPECT_EQ(read_until(side.other.get(), side.sent, Ending::reset), kSize);
  });
}

// The other direction meets the reset first, in its sends, and takes the error away.
TEST_P(ResetTest, NothingAcknowledgedIsLostWhileBytesFlowTheOtherWay) {
  constexpr std::uint64_t kSize = 200'000;
  from_either_side({}, [&](RelaySession&, const Sides& side) {
    ASSERT_TRUE(test::send_pattern(side.cutter.get(), side.sent, 0, kSize));
    // More than all buffers hold, so the relay is in the middle of sending when the reset comes.
    test::send_until_full(side.other.get(), side.counter, 64 << 20, 10ms);
    ASSERT_TRUE(all_acknowledged(side.cutter.get()));
    test::reset(std::move(side.cutter));
    EXPECT_EQ(read_until(side.other.get(), side.sent, Ending::reset), kSize);
  });
}

TEST_P(ResetTest, NothingAcknowledgedIsLostBehindAReaderWhoReadsLate) {
  from_either_side(small_buffers(), [this](RelaySession& session, const Sides& side) {
    const std::uint64_t sent = test::send_until_full(side.cutter.get(), side.sent, 64 << 20, 20ms);
    const std::uint64_t acknowledged = sent - test::unacknowledged_bytes(side.cutter.get());
    ASSERT_GT(acknowledged, 0U);
    test::reset(std::move(side.cutter));
    // The relay has seen the reset. It sleeps until the reader takes bytes.
    EXPECT_TRUE(loop_->sleeps());
    EXPECT_FALSE(session.ended());
    EXPECT_FALSE(broken(side.other.get()));
    EXPECT_GE(read_until(side.other.get(), side.sent, Ending::reset), acknowledged);
  });
}

TEST_P(ResetTest, AResetIsNoticedWhileBothDirectionsArePaused) {
  from_either_side(small_buffers(), [](RelaySession& session, const Sides& side) {
    test::send_until_full(side.cutter.get(), side.sent, 64 << 20, 20ms);
    test::send_until_full(side.other.get(), side.counter, 64 << 20, 20ms);
    test::reset(std::move(side.cutter));
    // The direction towards the cutter ends without a byte being read.
    EXPECT_TRUE(test::wait_until([&] {
      return session
          .look(
              [](Relay& relay) { return relay.to_upstream().ended() || relay.to_client().ended(); })
          .value_or(true);
    }));
    EXPECT_GT(read_until(side.other.get(), side.sent, Ending::reset), 0U);
  });
}

TEST_P(ResetTest, AResetAfterAFinCutsTheDirectionThatIsLeft) {
  from_either_side({}, [&](RelaySession&, const Sides& side) {
    ASSERT_TRUE(test::send_pattern(side.cutter.get(), side.sent, 0, 1000));
    test::finish_sending(side.cutter.get());
    EXPECT_EQ(read_whole(side.other.get(), side.sent, 1000), "") << "its own stream is whole";
    EXPECT_FALSE(broken(side.other.get()));
    test::reset(std::move(side.cutter));
    EXPECT_TRUE(test::wait_until([&] { return broken(side.other.get()); }));
  });
}

// A read then ends with 0. This is not an end of stream: the connection is gone.
TEST_P(ResetTest, AFinAndAResetThatComeAtOnceAreAReset) {
  from_either_side({}, [this](RelaySession&, const Sides& side) {
    // On the loop's thread, which then sees both only afterwards.
    loop_->call([&] {
      EXPECT_TRUE(test::send_pattern(side.cutter.get(), side.sent, 0, 1000));
      test::finish_sending(side.cutter.get());
      test::reset(std::move(side.cutter));
    });
    EXPECT_EQ(read_until(side.other.get(), side.sent, Ending::reset), 1000U);
  });
}

// The connector has read the socket's error, which clears it. The client sends only its FIN, so no
// send fails, and the receive ends with 0.
TEST_P(ResetTest, AResetWhoseErrorWasTakenAwayIsNotAnEnd) {
  constexpr std::uint64_t kSize = 20'000;
  SessionOptions options;
  options.connected = [&](RelaySession& session, int upstream_near) {
    ASSERT_TRUE(test::send_pattern(session.upstream.get(), kToClient, 0, kSize));
    ASSERT_TRUE(all_acknowledged(session.upstream.get()));
    test::finish_sending(session.client.get());
    test::reset(std::move(session.upstream));
    int error = 0;
    socklen_t size = sizeof error;
    ASSERT_EQ(::getsockopt(upstream_near, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    ASSERT_EQ(error, ECONNRESET);
  };
  RelaySession& session = start(options);
  EXPECT_EQ(read_until(session.client.get(), kToClient, Ending::reset), kSize);
  EXPECT_EQ(session.end(), EndReason::upstream_reset);
}

TEST_P(ResetTest, AResetBehindAFinWithBytesStillQueuedLosesNone) {
  from_either_side(small_buffers(), [&](RelaySession&, const Sides& side) {
    const std::uint64_t sent = test::send_until_full(side.cutter.get(), side.sent, 64 << 20, 20ms);
    const std::uint64_t acknowledged = sent - test::unacknowledged_bytes(side.cutter.get());
    test::finish_sending(side.cutter.get());
    test::reset(std::move(side.cutter));
    EXPECT_GE(read_until(side.other.get(), side.sent, Ending::reset), acknowledged);
  });
}

TEST_P(ResetTest, APeerThatClosesWithUnreadBytesResets) {
  from_either_side({}, [](RelaySession& session, const Sides& side) {
    ASSERT_TRUE(test::send_pattern(side.other.get(), side.counter, 0, 1000));
    ASSERT_TRUE(test::readable_within(side.cutter.get(), test::kPatience));
    static_cast<void>(session);
    side.cutter.reset();  // close(2) with bytes unread: the kernel sends a reset
    EXPECT_EQ(read_until(side.other.get(), side.sent, Ending::reset), 0U);
  });
}

TEST_P(ResetTest, AReaderWhoNeverReadsGetsAResetAllTheSameAfterTheDeadline) {
  if (test::scale() != test::Scale::thorough) {
    GTEST_SKIP() << "takes " << Relay::kResetFlushTimeout / 1s << " s: SLUICE_LONG=1 runs it";
  }
  RelaySession& session = start(small_buffers());
  test::send_until_full(session.client.get(), kToUpstream, 64 << 20, 20ms);
  test::reset(std::move(session.client));
  EXPECT_EQ(session.end(), EndReason::client_reset);
  EXPECT_TRUE(test::wait_until([&] { return broken(session.upstream.get()); }));
}

// The stream is cut at a random moment while bytes flow both ways. It must never look complete.
TEST_P(ResetTest, ACutStreamNeverEndsInACleanEof) {
  const int tries = test::by_scale(50, 200, 2000);
  std::mt19937_64 random(test::seed());
  for (int i = 0; i < tries; ++i) {
    const bool client_cuts = i % 2 == 0;
    RelaySession& session = start(i % 3 == 0 ? small_buffers() : SessionOptions{});
    const Sides side = sides(session, client_cuts);
    const std::uint64_t sent =
        test::send_until_full(side.cutter.get(), side.sent, 1 + random() % 400'000, 0ms);
    test::send_until_full(side.other.get(), side.counter, random() % 400'000, 0ms);
    std::uint64_t acknowledged = 0;
    if (random() % 2 == 0) std::this_thread::yield();
    const std::uint64_t unacknowledged = test::unacknowledged_bytes(side.cutter.get());
    acknowledged = sent - unacknowledged;
    test::reset(std::move(side.cutter));
    // This side no longer sends, so no send of ours can take the error away.
    const std::uint64_t received = read_until(side.other.get(), side.sent, Ending::reset);
    ASSERT_GE(received, acknowledged) << "try " << i;
    ASSERT_EQ(session.end(), client_cuts ? EndReason::client_reset : EndReason::upstream_reset);
    ASSERT_FALSE(HasFailure()) << "try " << i;
    sessions_.pop_back();
  }
}

TEST_P(ResetTest, BytesThatWereNeverAcknowledgedAreCounted) {
  RelaySession& session = start(small_buffers());
  test::send_until_full(session.client.get(), kToUpstream, 64 << 20, 20ms);
  test::reset(std::move(session.client));
  // The relay waits for the upstream to take the forwarded bytes, but the upstream goes away, too.
  ASSERT_TRUE(test::wait_until([&] {
    return session.look([](Relay& relay) { return relay.to_client().ended(); }) == true;
  }));
  test::reset(std::move(session.upstream));
  EXPECT_EQ(session.end(), EndReason::client_reset);
  const RelayReport& report = session.report();
  EXPECT_LE(report.unacknowledged_bytes, report.to_upstream_bytes);
}

TEST_P(ResetTest, AllAcknowledgedNothingIsCounted) {
  RelaySession& session = start();
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 100'000));
  ASSERT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == 100'000; }));
  test::reset(std::move(session.client));
  EXPECT_EQ(read_until(session.upstream.get(), kToUpstream, Ending::reset), 100'000U);
  EXPECT_EQ(session.end(), EndReason::client_reset);
  EXPECT_EQ(session.report().unacknowledged_bytes, 0U);
}

TEST_P(ResetTest, AUnixPeerSeesAResetAsAnEnd) {
  RelaySession& session = start({.unix_sockets = true});
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 1000));
  ASSERT_TRUE(test::wait_until([&] { return session.forwarded_to_upstream() == 1000; }));
  ASSERT_TRUE(test::send_pattern(session.upstream.get(), kToClient, 0, 1000));
  ASSERT_TRUE(test::readable_within(session.client.get(), test::kPatience));
  session.client.reset();  // with bytes unread: the relay's receive fails with ECONNRESET
  EXPECT_EQ(session.end(), EndReason::client_reset);
  test::PatternChecker checker(kToUpstream);
  EXPECT_NE(test::read_pattern(session.upstream.get(), checker), Ending::timed_out);
  EXPECT_EQ(checker.received_bytes(), 1000U);
}

// --- Urgent data

std::byte byte_at(Pattern pattern, std::uint64_t offset) {
  std::byte byte{};
  pattern.fill(offset, {&byte, 1});
  return byte;
}

using UrgentTest = RelayTest;
INSTANTIATE_TEST_SUITE_P(Modes, UrgentTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

TEST_P(UrgentTest, AnUrgentByteInAStreamKeepsItsPlace) {
  constexpr std::uint64_t kBefore = 400'000;
  constexpr std::uint64_t kSize = 2 * kBefore;
  RelaySession& session = start({.urgent_inline = true});
  std::thread sender([&] {
    const int fd = session.client.get();
    EXPECT_TRUE(test::send_pattern(fd, kToUpstream, 0, kBefore));
    test::send_urgent(fd, byte_at(kToUpstream, kBefore));
    EXPECT_TRUE(test::send_pattern(fd, kToUpstream, kBefore + 1, kSize - kBefore - 1));
    test::finish_sending(fd);
  });
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, kSize), "");
  sender.join();
}

TEST_P(UrgentTest, UrgentBytesAmongMessagesArriveAtOnceAndNothingSpins) {
  RelaySession& session = start({.urgent_inline = true});
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(test::send_all(session.client.get(), "a"));
    test::send_urgent(session.client.get(), std::byte{'!'});
    ASSERT_TRUE(test::send_all(session.client.get(), "b"));
    ASSERT_EQ(test::receive_text(session.upstream.get(), 3), "a!b");
    test::send_urgent(session.client.get(), std::byte{'?'});
    ASSERT_EQ(test::receive_text(session.upstream.get(), 1), "?");
  }
  EXPECT_TRUE(loop_->sleeps());
}

TEST_P(UrgentTest, ManyUrgentBytesInAStreamAllKeepTheirPlaces) {
  constexpr std::uint64_t kPieces = 40;
  constexpr std::uint64_t kPiece = 50'000;
  RelaySession& session = start({.urgent_inline = true});
  std::thread sender([&] {
    const int fd = session.client.get();
    for (std::uint64_t i = 0; i < kPieces; ++i) {
      test::send_urgent(fd, byte_at(kToUpstream, i * kPiece));
      EXPECT_TRUE(test::send_pattern(fd, kToUpstream, i * kPiece + 1, kPiece - 1));
    }
    test::finish_sending(fd);
  });
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, kPieces * kPiece), "");
  sender.join();
}

TEST_P(UrgentTest, AnUrgentByteBehindBackPressureDoesNotSpinAndArrives) {
  constexpr std::uint64_t kBefore = 300'000;
  constexpr test::PairOptions kRoomy{.near_receive_bytes = 1 << 20};
  RelaySession& session =
      start({.client = kRoomy, .upstream = test::kSmallBuffers, .urgent_inline = true});
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, kBefore));
  ASSERT_TRUE(all_acknowledged(session.client.get()));
  test::send_urgent(session.client.get(), byte_at(kToUpstream, kBefore));
  test::finish_sending(session.client.get());
  EXPECT_TRUE(loop_->sleeps());
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, kBefore + 1), "");
}

TEST_P(UrgentTest, AResetBehindAnUrgentByteIsPassedOn) {
  RelaySession& session = start({.urgent_inline = true});
  ASSERT_TRUE(test::send_pattern(session.client.get(), kToUpstream, 0, 100'000));
  test::send_urgent(session.client.get(), byte_at(kToUpstream, 100'000));
  ASSERT_TRUE(all_acknowledged(session.client.get()));
  test::reset(std::move(session.client));
  EXPECT_EQ(read_until(session.upstream.get(), kToUpstream, Ending::reset), 100'001U);
  EXPECT_EQ(session.end(), EndReason::client_reset);
}

}  // namespace
}  // namespace sluice
