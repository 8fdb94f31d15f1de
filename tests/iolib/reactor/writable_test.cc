// Waiting for room, also after the peer's FIN: io_uring then uses another kind of poll.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"

namespace sluice {
namespace {

using test::SocketPair;
using test::tcp_pair;

void drain(int fd) {
  std::vector<std::byte> taken(1 << 16);
  while (::recv(fd, taken.data(), taken.size(), MSG_DONTWAIT) > 0) {
  }
}

bool has_room(int fd) { return test::writable_within(fd, std::chrono::nanoseconds(0)); }

template <class Engine>
class WritableTest : public ReactorTest<Engine> {
 protected:
  /// Makes room at the reader, and waits until the kernel knows it.
  static void make_room(const SocketPair& pair) {
    drain(pair.far.get());
    EXPECT_TRUE(test::writable_within(pair.near.get(), test::kPatience));
  }
};

TYPED_TEST_SUITE(WritableTest, Reactors, ReactorNames);

TYPED_TEST(WritableTest, WritableWaitsUntilTheReaderHasRead) {
  const SocketPair pair = tcp_pair(test::kSmallBuffers);
  const auto wait = this->probe();
  this->reactor().wait_writable(pair.near.get(), *wait);
  ASSERT_TRUE(this->run_until_complete(*wait));
  EXPECT_GT(wait->last().result, 0);
  fill(pair.near.get());
  this->reactor().wait_writable(pair.near.get(), *wait);
  this->settle();
  EXPECT_EQ(wait->completions(), 1U);
  drain(pair.far.get());
  ASSERT_TRUE(this->run_until_complete(*wait));
  EXPECT_EQ(wait->completions(), 2U);
}

// The peer's FIN does not mean that there is room to send.
TYPED_TEST(WritableTest, WritableDoesNotSpinBehindThePeersEnd) {
  const SocketPair pair = tcp_pair(test::kSmallBuffers);
  test::finish_sending(pair.far.get());
  fill(pair.near.get());
  const auto wait = this->probe();
  this->reactor().wait_writable(pair.near.get(), *wait);
  EXPECT_TRUE(this->sleeps_for(std::chrono::milliseconds(200)));
  EXPECT_EQ(wait->completions(), 0U);
  this->reactor().cancel(*wait);
  ASSERT_TRUE(this->run_until_complete(*wait));
  EXPECT_EQ(wait->last().result, -ECANCELED);
  for (int i = 0; i < 3; ++i) {
    this->reactor().wait_writable(pair.near.get(), *wait);
    this->settle();
    EXPECT_EQ(wait->completions(), 1U + static_cast<unsigned>(i));
    drain(pair.far.get());
    ASSERT_TRUE(this->run_until_complete(*wait));
    EXPECT_GT(wait->last().result, 0);
    EXPECT_FALSE(wait->in_flight());
    fill(pair.near.get());
  }
}

TYPED_TEST(WritableTest, WritableEndsWithAReset) {
  SocketPair pair = tcp_pair(test::kSmallBuffers);
  const auto wait = this->probe();
  fill(pair.near.get());
  this->reactor().wait_writable(pair.near.get(), *wait);
  this->settle();
  EXPECT_EQ(wait->completions(), 0U);
  test::reset(std::move(pair.far));
  ASSERT_TRUE(this->run_until_complete(*wait));
  EXPECT_NE(wait->last().result, 0);
}

// Here the wait is already in progress, as the usual kind of poll, when the FIN comes.
TYPED_TEST(WritableTest, AnEndThatComesDuringTheWaitIsNoRoom) {
  const SocketPair pair = tcp_pair(test::kSmallBuffers);
  fill(pair.near.get());
  const auto wait = this->probe();
  this->reactor().wait_writable(pair.near.get(), *wait);
  this->settle();
  test::finish_sending(pair.far.get());
  EXPECT_TRUE(this->sleeps_for(std::chrono::milliseconds(100)));
  EXPECT_EQ(wait->completions(), 0U);
  drain(pair.far.get());
  ASSERT_TRUE(this->run_until_complete(*wait));
  EXPECT_GT(wait->last().result, 0);
  EXPECT_FALSE(wait->last().more);
  EXPECT_FALSE(wait->in_flight());
  this->settle();
  EXPECT_EQ(wait->completions(), 1U);
}

TYPED_TEST(WritableTest, AResetBehindAnEndThatCameDuringTheWaitEndsIt) {
  SocketPair pair = tcp_pair(test::kSmallBuffers);
  fill(pair.near.get());
  const auto wait = this->probe();
  this->reactor().wait_writable(pair.near.get(), *wait);
  this->settle();
  test::finish_sending(pair.far.get());
  this->settle();
  EXPECT_EQ(wait->completions(), 0U);
  test::reset(std::move(pair.far));
  ASSERT_TRUE(this->run_until_complete(*wait));
  EXPECT_NE(wait->last().result, 0);
  EXPECT_FALSE(wait->in_flight());
}

TYPED_TEST(WritableTest, BehindAnEndItCanBeStartedAgainFromItsCompletion) {
  const SocketPair pair = tcp_pair(test::kSmallBuffers);
  fill(pair.near.get());
  const auto wait = this->probe();
  wait->then = [&](const Probe::Seen& seen) {
    EXPECT_GT(seen.result, 0);
    EXPECT_FALSE(wait->in_flight());
    EXPECT_TRUE(has_room(pair.near.get()));
    // Some bytes reach the reader's kernel a little later, which makes room once more.
    fill(pair.near.get());
    this->reactor().wait_writable(pair.near.get(), *wait);
  };
  this->reactor().wait_writable(pair.near.get(), *wait);
  this->settle();
  test::finish_sending(pair.far.get());
  for (int round = 0; round < 5; ++round) {
    EXPECT_TRUE(this->sleeps_for(std::chrono::milliseconds(100))) << "round " << round;
    ASSERT_TRUE(wait->in_flight());
    const std::size_t before = wait->completions();
    drain(pair.far.get());
    ASSERT_TRUE(this->run_until([&] { return wait->completions() > before; }));
  }
  wait->then = nullptr;
  this->reactor().cancel(*wait);
  ASSERT_TRUE(this->run_until([&] { return !wait->in_flight(); }));
}

// After the peer's end, io_uring's wait takes two completions: one that finds room, and one that
// ends the request. Cancelling in between, or in the same turn, gives one completion. The
// cancellation does not affect the operation's next request.
TYPED_TEST(WritableTest, CancelledWhileItEndsItCompletesOnceAndCanBeStartedAgain) {
  enum class First { room, cancel };
  for (int round = 0; round < 20; ++round) {
    const First first = round % 2 == 0 ? First::room : First::cancel;
    const SocketPair pair = tcp_pair(test::kSmallBuffers);
    const SocketPair other = tcp_pair();
    test::finish_sending(pair.far.get());
    fill(pair.near.get());
    const auto wait = this->probe();
    wait->then = [&](const Probe::Seen& seen) {
      EXPECT_FALSE(seen.more);
      if (wait->completions() > 1) {
        EXPECT_GT(seen.result, 0) << "a cancellation that was meant for the first";
        return;
      }
      EXPECT_TRUE(seen.result > 0 || seen.result == -ECANCELED) << seen.result;
      fill(pair.near.get());
      this->reactor().wait_writable(pair.near.get(), *wait);
    };
    const auto canceller = this->probe();
    canceller->then = [&](const Probe::Seen&) {
      if (wait->completions() == 0) this->reactor().cancel(*wait);
    };
    this->reactor().wait_writable(pair.near.get(), *wait);
    this->reactor().receive(other.near.get(), *canceller);
    this->settle();
    ASSERT_EQ(wait->completions(), 0U);
    // Both are ready before the loop's next turn, which finds them in this order.
    if (first == First::room) this->make_room(pair);
    ASSERT_TRUE(test::send_all(other.far.get(), "x"));
    if (first == First::cancel) this->make_room(pair);
    ASSERT_TRUE(this->run_until([&] { return wait->completions() > 0; }));
    drain(pair.far.get());
    ASSERT_TRUE(this->run_until([&] { return wait->completions() > 1; }));
    EXPECT_FALSE(wait->in_flight());
    this->settle();
    EXPECT_EQ(wait->completions(), 2U);
    this->reactor().forget(pair.near.get());
    this->reactor().forget(other.near.get());
  }
}

}  // namespace
}  // namespace sluice
